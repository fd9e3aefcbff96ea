#!/bin/bash
# On a slow link between two nodes the sum of gradients hides behind backward: a rank that computes
# waits for at most 20 % of what the sum takes alone.
# alone
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
check=$BUILD/tools/comm_check
need_program "$check"
[ "$(id -u)" = 0 ] || skip "two network namespaces need root"
for tool in tc ip unshare nsenter; do
    command -v "$tool" >/dev/null || skip "$tool is not installed"
done

export MINI_STATE=$WORK/nodes
nodes=tests/cluster/netns.sh
CLEANUP+=("$nodes down")
$nodes up 2 >"$WORK/log" 2>&1 || skip "cannot make namespaces: $(tail -1 "$WORK/log")"
export OMPI_MCA_btl_tcp_if_include=eth0 OMPI_MCA_oob_tcp_if_include=eth0
export OMPI_MCA_plm_rsh_agent="$PWD/$nodes agent"

for rate in 100mbit 400mbit; do
    for node in node1 node2; do
        $nodes rate "$node" "$rate" || skip "this kernel cannot limit a rate"
    done
    $nodes exec ctl timeout -k 5 90 mpirun --quiet -n 2 --host node1,node2 \
        "$PWD/$check" hidden 8 0 >"$WORK/log" 2>&1 || fail "$rate: $(cat "$WORK/log")"
    echo "$rate: $(grep share= "$WORK/log")"
done
pass "at 100 and 400 Mbit/s"
