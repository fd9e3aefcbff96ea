#!/bin/bash
# timeout: 1500
# alone
# tests/cluster/faults.sh [FAULT...]: runs of 200 steps on 4 virtual nodes under a real SLURM, each hurt once in its
# middle.  Each must end by itself (one of them: after a second `lockstep submit`) with the digest of a run that nobody
# disturbed, a final checkpoint that verifies, and nothing left on any node.  What was noticed when, and what the user
# read, goes into a table: $LOGS/faults.md.  Without arguments: all faults.
# shellcheck source=tests/cluster/lib_faults.sh
. "$(dirname "$0")/lib_faults.sh"
LOGS=${LOGS:-$BUILD}
TABLE=$LOGS/faults.md
ALL="rank_killed rank_segfault rank_stopped exit_in_save damaged_checkpoint full_disk mpirun_killed launcher_killed cable_cut
    node_crash batch_node_crash requeue preempted time_limit slurmd_killed slurmctld_restarted flipped_bit rank_loops"

# Steps that were done twice: the last one that was finished before the next start (the metrics know it when the fault
# comes, the log may know more) less the step from which that start went on.
repeated() {
    cat_logs | awk -v last="$STEP_BEFORE" '/^step / { split($2, a, "/"); if (a[1] + 0 > last) last = a[1] + 0 }
        NR >= from_line && / rank=0 resume / && match($0, /finished_steps=[0-9]+/) {
            again = last - substr($0, RSTART + 15, RLENGTH - 15); print (again > 0 ? again : 0); found = 1; exit }
        END { if (!found) print 0 }' from_line="$LINES_BEFORE"
}

prepare() { # FAULT: into OPTIONS, and what has to be there before the start
    OPTIONS=()
    STEP=60
    unset LS_FAULT
    case $1 in time_limit | slurmd_killed | slurmctld_restarted | preempted | full_disk) STEP=30 && link_rate 25mbit ;; esac
    case $1 in
    exit_in_save) export LS_FAULT=kill:fsync:13:2:1 ;; # rank 2, in its fourth save, only at the first start
    flipped_bit) export LS_FAULT=fail:flip:70:1:1 && OPTIONS=(--set lockstep.audit_freq=10) ;;    # in rank 1's weights
    rank_loops) export LS_FAULT=hang:step:70:1:1 && OPTIONS=(--set lockstep.step_timeout_s=8) ;; # rank 1, for ever
    rank_stopped) OPTIONS=(--set lockstep.step_timeout_s=8) ;;
    time_limit) OPTIONS=(--set 'slurm.time="1"' --set slurm.signal=USR1@53) ;;
    full_disk)
        mkdir -p "$WORK/disk/$RUN" && ln -s "disk/$RUN" "$WORK/$RUN"
        OPTIONS=(--set "slurm.extra=--output=$WORK/$RUN-%j.log") # what the job prints is read, so it goes elsewhere
        ;;
    esac
}

one_fault() { # FAULT
    local fault=$1 noticed_after=- again_after=- at words
    RUN=$fault
    prepare "$fault"
    submit "$RUN" "${OPTIONS[@]}"
    JOB=$(job_of "$RUN")
    wait_until 60 "$RUN: step $STEP" has_step "$RUN" "$STEP"
    LINES_BEFORE=$(($(cat_logs | wc -l) + 1))
    STEP_BEFORE=$(step_of "$RUN")
    at=$(now)
    hurt "$fault"
    [ "$fault" != exit_in_save ] || at=$(now) # it was armed, and has just come
    case $fault in
    slurmctld_restarted)
        mend "$fault"
        link_rate off
        ;;
    launcher_killed)
        mend "$fault"
        noticed_after=$(since "$at")
        ;;
    *)
        [ "$fault" = full_disk ] || mend "$fault" &
        wait_until 90 "$RUN: noticed" noticed
        noticed_after=$(since "$at")
        [ "$fault" != full_disk ] || mend "$fault"
        [ "$STEP" = 60 ] || link_rate off
        ;;
    esac
    case $fault in
    slurmctld_restarted | full_disk) ;;
    *)
        wait_until 120 "$RUN: running again" runs_again
        again_after=$(since "$at")
        ;;
    esac
    ends_whole 180
    [ "$fault" != damaged_checkpoint ] || grep -q 'checkpoint_damaged' <(cat_logs) || fail "$RUN: the damage was not told"
    words=$(first_words)
    [ "$fault" != launcher_killed ] || words="status: $(sed -n 's/^\(state  *lost\|next\)  *//p' "$WORK/status" | tail -n 1)"
    echo "| ${fault//_/ } | $noticed_after | $again_after | $(repeated) | ${words:--} |" >>"$TABLE"
    tail -n 1 "$TABLE"
}

faults=${*:-$ALL}
faults_up
undisturbed
mkdir -p "$LOGS"
{
    echo '| fault | noticed after, s | running again after, s | steps repeated | what the user read first |'
    echo '| --- | --- | --- | --- | --- |'
} >"$TABLE"
count=0
for fault in $faults; do
    one_fault "$fault"
    count=$((count + 1))
done
pass "$count faults, each run ended with the digest of the undisturbed one; table in $TABLE"
