#!/bin/bash
# timeout: 600
# emulated too
# Two workers on real videos, 60 steps (30 of the emulated card): repeated, killed and started again, or stopped and taken up
# again, the run ends with the same bits; also with 3 compute threads a worker.
# shellcheck source=tests/e2e/lib_train.sh
. "$(dirname "$0")/lib_train.sh"
pack_clean

train_all first 2
train_all again 2
same_digest first again
same_values first again

train_all other_seed 2 --set meta.seed=8
[ "$(digest first)" != "$(digest other_seed)" ] || fail "another seed gives the same digest"

# SIGKILL of one worker at a random step; the run is started again until it ends.
step=$((steps / 6 + RANDOM % (steps * 2 / 3)))
train killed 2 &
job=$!
wait_for_step killed "$step"
victims=$(workers_of killed)
kill -9 "$(shuf -n 1 <<<"$victims")" || fail "killed: no worker to kill"
for tries in 1 2 3; do
    code=0
    wait "$job" || code=$?
    [ "$code" = 0 ] && break
    train killed 2 &
    job=$!
done
[ "$code" = 0 ] || fail "killed at step $step: exit code $code after $tries starts: $(tail -1 "$WORK/killed.log")"
check_metrics killed
same_digest first killed
same_values first killed

# SIGTERM to the launcher half-way: state saved, exit code 75; then on to the end.
train stopped 2 &
job=$!
wait_for_step stopped $((steps / 2))
kill -TERM "$(launcher_of stopped)" || fail "stopped: no launcher to signal"
code=0
wait "$job" || code=$?
[ "$code" = 75 ] || fail "stopped: exit code $code, not 75: $(tail -1 "$WORK/stopped.log")"
[ "$(steps_of stopped)" -lt "$steps" ] || fail "stopped: it ran to its end"
at=$(steps_of stopped)
train_all stopped 2
same_digest first stopped
same_values first stopped

train_all threads 2 --set lockstep.threads=3
train_all threads_again 2 --set lockstep.threads=3
same_digest threads threads_again
pass "$DEVICE: $steps steps; killed at step $step; stopped at step $at; 3 threads"
