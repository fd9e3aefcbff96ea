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

# SIGKILL of one worker at a random step, and the launcher starts all again (train_storm.sh kills at any moment).
step=$((steps / 6 + RANDOM % (steps * 2 / 3)))
rank=$((RANDOM % 2))
LS_FAULT=kill:step:$step:$rank:1 train_all killed 2
grep -q "workers_lost rank $rank .*signal 9" "$WORK/killed.log" || fail "killed at step $step: not told: $(grep -m1 workers_lost "$WORK/killed.log")"
same_digest first killed
same_values first killed

# SIGTERM to the launcher half-way, where rank 1 stands still until it has come: state saved, exit code 75; then on to
# the end.
LS_FAULT=stop:step:$((steps / 2)):1:1 train stopped 2 &
job=$!
standing=$(wait_for_stopped stopped) || fail "stopped: no worker stands still: $(tail -1 "$WORK/stopped.log")"
kill -TERM "$(launcher_of stopped)" || fail "stopped: no launcher to signal"
wait_for_signal "$standing"
kill -CONT "$standing"
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
