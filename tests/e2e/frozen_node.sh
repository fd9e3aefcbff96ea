#!/bin/bash
# timeout: 400
# alone
# A half-dead peer: every process of a node is frozen, mpirun's daemon too, while its network stays
# up.  The launcher misses the rank's signs of life, names it and its node, and ends with a timeout;
# nothing is left running on the other node.
# shellcheck source=tests/e2e/lib_nodes.sh
. "$(dirname "$0")/lib_nodes.sh"
lockstep=$BUILD/lockstep
need_program "$lockstep"
need_program "$BUILD/lockstep-worker"
need_shared videos/clean
"$lockstep" pack "$SHARED/videos/clean" -o "$WORK/clean" >"$WORK/pack.log" 2>&1 || fail "pack: $(tail -1 "$WORK/pack.log")"
nodes_up 2

"$nodes" exec ctl timeout -k 5 240 "$(realpath "$lockstep")" train "$PWD/tests/e2e/tiny.yaml" --hosts node1,node2 -n 2 \
    --set "folder=$WORK/run" --set "data.datasets=[$WORK/clean]" --set optimization.steps=100000 \
    --set meta.save_freq_steps=100000 --set lockstep.silence_timeout_s=5 --set lockstep.step_timeout_s=60 \
    --set lockstep.max_restarts=0 >"$WORK/run.log" 2>&1 &
job=$!
for tries in $(seq 600); do
    [ "$(wc -l 2>/dev/null <"$WORK/run/metrics.jsonl")" -ge 5 ] 2>/dev/null && break
    kill -0 "$job" 2>/dev/null || fail "the run did not start: $(tail -1 "$WORK/run.log")"
    [ "$tries" -lt 600 ] || fail "the run does no steps: $(tail -1 "$WORK/run.log")"
    sleep 0.2
done
start=$SECONDS
"$nodes" exec node2 sh -c 'kill -STOP -1'
code=0
wait "$job" || code=$?
took=$((SECONDS - start))
"$nodes" exec node2 sh -c 'kill -CONT -1'
[ "$code" = 14 ] || fail "exit code $code, not 14: $(tail -2 "$WORK/run.log")"
[ "$took" -le 90 ] || fail "ended after $took s"
grep -q 'nothing was heard of rank 1 on node node2 for 5 s' "$WORK/run.log" || fail "not named: $(tail -1 "$WORK/run.log")"
grep -Eq 'did_not_arrive rank=1 node=node2 step=[0-9]+ phase=.*silent_s=.*; others: rank=0 node=node1 .*waits_for="' "$WORK/run.log" ||
    fail "not told who waits: $(grep did_not "$WORK/run.log")"
for _ in $(seq 600); do
    left=$(for node in node1 node2; do "$nodes" exec "$node" pgrep -f "lockstep-worker $WORK/run" || :; done)
    [ -z "$left" ] && break
    sleep 0.1
done
[ -z "$left" ] || fail "workers are left: $left"
pass "frozen node2 named; ended after $took s"
