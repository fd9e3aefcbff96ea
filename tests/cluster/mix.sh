#!/bin/bash
# timeout: 1800
# alone
# tests/cluster/mix.sh [COUNT [SEED]]: one run of 200 steps that is hurt COUNT (30) times, in an order that SEED (the day)
# decides, each time after a few more steps.  It must end with the digest of a run that nobody disturbed.
# shellcheck source=tests/cluster/lib_faults.sh
. "$(dirname "$0")/lib_faults.sh"
COUNT=${1:-30}
RANDOM=${2:-$(date +%j)}
LOGS=${LOGS:-$BUILD}
kinds=(rank_killed rank_segfault rank_stopped damaged_checkpoint mpirun_killed launcher_killed cable_cut node_crash requeue preempted
    slurmctld_restarted)

# shellcheck disable=SC2317 # wait_until calls these
job_runs() { [ "$(job_state "$JOB")" = RUNNING ]; }
# shellcheck disable=SC2317
has_moved_on() { [ "$(step_of "$RUN")" -ge "$1" ] && has_state "$RUN" running && job_runs; }

faults_up
undisturbed
link_rate 8mbit # about a second a step
RUN=mix
OPTIONS=(--set meta.save_freq_steps=3 --set meta.keep_last=8 --set lockstep.max_restarts=1000
    --set lockstep.step_timeout_s=8)
submit "$RUN" "${OPTIONS[@]}"
JOB=$(job_of "$RUN")
mkdir -p "$LOGS"
: >"$LOGS/mix.txt"
begin=$(now)
for number in $(seq "$COUNT"); do
    fault=${kinds[RANDOM % ${#kinds[@]}]}
    # Far enough that every fault meets a running job, and that all of them come before the end.
    step=$((number * 160 / COUNT))
    wait_until 150 "$RUN: step $step before fault $number" has_moved_on "$step"
    LINES_BEFORE=$(($(cat_logs | wc -l) + 1))
    echo "$(since "$begin") s step $(step_of "$RUN"): $fault" >>"$LOGS/mix.txt"
    hurt "$fault"
    mend "$fault"
    case $fault in slurmctld_restarted) ;; *) wait_until 150 "$RUN: running again after $fault ($number)" runs_again ;; esac
done
link_rate off
ends_whole 180
starts=$(cat "$WORK/mix/run-epoch")
pass "$COUNT faults in $(since "$begin") s, $starts starts, digest of the undisturbed run; $LOGS/mix.txt lists them"
