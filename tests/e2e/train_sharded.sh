#!/bin/bash
# timeout: 300
# optimizer_state: sharded computes the bits of replicated in float32, with every number of workers; a run changes
# between the two, and between numbers of workers, in either direction; memory a worker falls as computed.
# shellcheck source=tests/e2e/lib_train.sh
. "$(dirname "$0")/lib_train.sh"
pack_frames
steps=12
sharded=(--set optimization.optimizer_state=sharded)

for workers in 1 2 3 4; do
    train_all "whole$workers" "$workers"
    train_all "parts$workers" "$workers" "${sharded[@]}"
    same_digest "whole$workers" "parts$workers"
done
for run in whole3 parts3; do
    grep -q 'optimizer_state=' "$WORK/$run.log" || fail "$run: the log does not tell what a worker holds"
done

# Half-way the mode changes, and with it the number of workers: the checkpoint stays the same, the run goes on.
change() { # NAME WORKERS MODE WORKERS MODE
    local code=0
    train "$1" "$2" --set "optimization.optimizer_state=$3" --stop-at $((steps / 2)) || code=$?
    [ "$code" = 75 ] || fail "$1: exit code $code, not 75: $(tail -1 "$WORK/$1.log")"
    train_all "$1" "$4" --set "optimization.optimizer_state=$5"
    grep -q "resume from=.*finished_steps=$((steps / 2))" "$WORK/$1.log" || fail "$1: did not resume"
    [ "$2" != "$4" ] || same_digest whole"$2" "$1"
}
change to_whole 3 sharded 3 replicated
change to_parts 2 replicated 2 sharded
change fewer 4 sharded 2 sharded
change more 2 replicated 4 sharded
"$lockstep" verify "$WORK/fewer" >"$WORK/log" 2>&1 || fail "fewer: $(tail -1 "$WORK/log")"
pass "1 to 4 workers with the bits of replicated; changed half-way"
