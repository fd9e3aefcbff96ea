#!/bin/bash
# alone
# On a slow link between two nodes the sum of gradients hides behind backward: a rank that computes
# waits for at most 20 % of what the sum takes alone.
# shellcheck source=tests/e2e/lib_nodes.sh
. "$(dirname "$0")/lib_nodes.sh"
check=$BUILD/tools/comm_speed
need_program "$check"
nodes_up 2
for rate in 100mbit 400mbit; do
    nodes_rate "$rate" node1 node2
    # Something else that runs for a moment is no fault of the program's: three tries.
    for tries in 1 2 3; do
        on_nodes 2 200 "$check" hidden 8 0 >"$WORK/log" 2>&1 && break
        if [ "$tries" = 3 ] || ! grep -q share= "$WORK/log"; then fail "$rate, $tries tries: $(cat "$WORK/log")"; fi
    done
    echo "$rate: $(grep share= "$WORK/log")"
done
pass "at 100 and 400 Mbit/s"
