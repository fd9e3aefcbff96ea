#!/bin/bash
# timeout: 2100
# alone
# tests/cluster/mix.sh [COUNT [SEED]]: one run of 200 steps that is hurt COUNT (30) times, in an order that SEED (the day)
# decides, each time after a few more steps; every kind comes, where COUNT allows.  Three more are armed in some of the
# starts: a rank that dies in the middle of a save, a flipped bit, an endless loop.  (A NaN would change the result: its
# step is skipped.)  The run must end with the digest of one that nobody disturbed.
# shellcheck source=tests/cluster/lib_faults.sh
. "$(dirname "$0")/lib_faults.sh"
COUNT=${1:-30}
RANDOM=${2:-$(date +%j)}
LOGS=${LOGS:-$BUILD}
kinds=(time_limit rank_killed rank_segfault rank_stopped damaged_checkpoint full_disk mpirun_killed launcher_killed
    batch_process_killed cable_cut node_crash batch_node_crash requeue preempted slurmd_killed slurmctld_restarted)
ARMED='fail:flip:2:1:3,kill:fsync:5:2:5,hang:step:3:3:8,fail:flip:2:2:11,kill:fsync:5:1:14,hang:step:3:0:17,fail:flip:2:3:20,kill:fsync:5:3:23'

# shellcheck disable=SC2317 # wait_until calls these
job_runs() { [ "$(job_state "$JOB")" = RUNNING ]; }
# shellcheck disable=SC2317
has_moved_on() { [ "$(step_of "$RUN")" -ge "$1" ] && has_state "$RUN" running && job_runs; }

# SLURM takes whole minutes, and warns 30 s before: the end of the next minute that leaves time for that.  Meanwhile steps
# are slow, so that some remain for the others.
shorten() {
    local elapsed minutes seconds
    link_rate 3mbit
    elapsed=$(slurm squeue --noheader --format=%M --jobs "$JOB")
    seconds=$((10#${elapsed##*:}))
    elapsed=${elapsed%:*}
    minutes=$((10#${elapsed##*:}))
    slurm scontrol update "JobId=$JOB" "TimeLimit=$((minutes + (seconds > 20 ? 2 : 1)))" || fail "$RUN: no other time limit"
}
# one FAULT NUMBER: hurt and mend, until the run goes on.
one() {
    case $1 in
    time_limit) shorten ;;
    *) hurt "$1" ;;
    esac
    case $1 in
    full_disk)
        wait_until 90 "$RUN: noticed $1 ($2)" noticed
        mend "$1"
        ;;
    time_limit)
        wait_until 180 "$RUN: running again after $1 ($2)" runs_again
        slurm scontrol update "JobId=$JOB" TimeLimit=60 || fail "$RUN: no other time limit"
        link_rate 8mbit
        ;;
    slurmctld_restarted) mend "$1" ;;
    *)
        mend "$1"
        wait_until 180 "$RUN: running again after $1 ($2)" runs_again
        ;;
    esac
}

# All kinds, then any but the first, which takes minutes; in a random order.
order=("${kinds[@]:0:COUNT}")
while [ ${#order[@]} -lt "$COUNT" ]; do order+=("${kinds[1 + RANDOM % (${#kinds[@]} - 1)]}"); done
for number in $(seq $((COUNT - 1)) -1 1); do
    other=$((RANDOM % (number + 1)))
    fault=${order[number]} order[number]=${order[other]} order[other]=$fault
done

faults_up
undisturbed
link_rate 8mbit # about a second a step
RUN=mix
mkdir -p "$WORK/disk/$RUN" "$LOGS"
ln -s "disk/$RUN" "$WORK/$RUN"
OPTIONS=(--set meta.save_freq_steps=3 --set meta.keep_last=8 --set lockstep.max_restarts=1000 --set lockstep.step_timeout_s=8
    --set "slurm.extra=--output=$WORK/$RUN-%j.log" --set 'slurm.time="60:00"')
export LS_FAULT=$ARMED
submit "$RUN" "${OPTIONS[@]}"
JOB=$(job_of "$RUN")
: >"$LOGS/mix.txt"
begin=$(now)
number=0
for fault in "${order[@]}"; do
    number=$((number + 1))
    # Far enough that every fault meets a running job, and that all of them come before the end.
    step=$((number * 160 / COUNT))
    wait_until 180 "$RUN: step $step before fault $number" has_moved_on "$step"
    LINES_BEFORE=$(($(cat_logs | wc -l) + 1))
    echo "$(since "$begin") s step $(step_of "$RUN"): $fault" >>"$LOGS/mix.txt"
    one "$fault" "$number"
done
link_rate off
ends_whole 180
starts=$(cat "$WORK/mix/run-epoch")
bits=$(cat_logs | grep -c 'workers_lost .* audit of step')
pass "$COUNT faults in $(since "$begin") s, $starts starts, $bits flipped bits, digest of the undisturbed run; $LOGS/mix.txt lists them"
