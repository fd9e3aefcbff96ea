#!/bin/bash
# timeout: 1500
# alone
# tests/cluster/faults.sh [FAULT...]: runs of 200 steps on 4 virtual nodes under a real SLURM, each hurt once in its
# middle.  Each must end by itself (one of them: after a second `lockstep submit`) with the digest of a run that nobody
# disturbed (a NaN: of a run with the same NaN on one machine; a node left out: with its losses), a final checkpoint that
# verifies, and nothing left on any node.  What was noticed when, and what the user
# read, goes into a table: $LOGS/faults.md.  Without arguments: all faults.
# shellcheck source=tests/cluster/lib_faults.sh
. "$(dirname "$0")/lib_faults.sh"
LOGS=${LOGS:-$BUILD}
TABLE=$LOGS/faults.md
ALL="rank_killed rank_segfault rank_stopped exit_in_save damaged_checkpoint full_disk mpirun_killed launcher_killed batch_process_killed cable_cut
    node_crash batch_node_crash requeue preempted time_limit slurmd_killed slurmctld_restarted flipped_bit
    bad_node not_a_number numbers_stay_bad rank_loops"

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
    # Steps take so long that the run is in its middle still when it is hurt, on a fast machine too.
    case $1 in
    time_limit | slurmd_killed | slurmctld_restarted | preempted | full_disk) STEP=30 && link_rate 25mbit ;;
    exit_in_save | flipped_bit | bad_node | rank_loops | not_a_number | numbers_stay_bad) ;; # armed
    *) link_rate 100mbit ;;
    esac
    case $1 in
    exit_in_save) export LS_FAULT=kill:fsync:13:2:1 ;; # rank 2, in its fourth save, only at the first start
    flipped_bit) export LS_FAULT=fail:flip:70:1:1 && OPTIONS=(--set lockstep.audit_freq=10) ;;    # in rank 1's weights
    rank_loops) export LS_FAULT=hang:step:70:1:1 && OPTIONS=(--set lockstep.step_timeout_s=8) ;; # rank 1, for ever
    bad_node) # rank 1 flips a bit in its first two starts: then its node is left out
        export LS_FAULT=fail:flip:70:1:-2
        OPTIONS=(--set lockstep.audit_freq=10 --set lockstep.min_workers=3)
        ;;
    not_a_number) export LS_FAULT=fail:not_finite:70:1:1 ;; # one loss of rank 1
    numbers_stay_bad) export LS_FAULT=fail-for-good:not_finite:70:1:1 && OPTIONS=(--set lockstep.max_bad_steps=3) ;;
    rank_stopped) OPTIONS=(--set lockstep.step_timeout_s=8) ;;
    time_limit) OPTIONS=(--set 'slurm.time="1"' --set slurm.signal=USR1@53) ;;
    full_disk)
        mkdir -p "$WORK/disk/$RUN" && ln -s "disk/$RUN" "$WORK/$RUN"
        OPTIONS=(--set "slurm.extra=--output=$WORK/$RUN-%j.log") # what the job prints is read, so it goes elsewhere
        ;;
    esac
}

# What the run's end is held against, into WANTED; "": its losses alone.
wanted_of() { # FAULT
    WANTED=$DIGEST
    case $1 in
    not_a_number | numbers_stay_bad)
        slurm timeout 120 "$lockstep" train tests/cluster/run.yaml -n "$NODES" --set "folder=$WORK/$1-alone" \
            --set "data.datasets=[$WORK/data]" "${OPTIONS[@]}" >"$WORK/log" 2>&1 || fail "$1 on one machine: $(tail -1 "$WORK/log")"
        WANTED=$(digest_of "$1-alone")
        [ "${#WANTED}" = 32 ] || fail "$1 on one machine: no digest"
        [ "$WANTED" != "$DIGEST" ] || fail "$1 on one machine: the NaN changed nothing"
        ;;
    bad_node) WANTED= ;;
    esac
}
last_loss() { tail -n 1 "$WORK/$1/metrics.jsonl" | sed -n 's/.*"loss":\([^,]*\),.*/\1/p'; }
# What else must have happened.
told_of() { # FAULT
    case $1 in
    damaged_checkpoint) grep -q 'checkpoint_damaged' <(cat_logs) || fail "$RUN: the damage was not told" ;;
    launcher_killed) grep -q 'launcher_lost signal=9 (Killed) restart=1' <(cat_logs) || fail "$RUN: the guard said nothing" ;;
    numbers_stay_bad) grep -q 'skipped_draws steps=3 last=71' <(cat_logs) || fail "$RUN: the bad draws were not passed over" ;;
    bad_node)
        grep -q 'node_left_out node=node2 reason=failed_twice_or_gone workers=3' <(cat_logs) || fail "$RUN: node2 was not left out"
        awk -v a="$(last_loss undisturbed)" -v b="$(last_loss "$RUN")" 'BEGIN { exit !(a > 0 && (a - b) / a < 1e-6 && (b - a) / a < 1e-6) }' ||
            fail "$RUN: the last loss is $(last_loss "$RUN"), undisturbed $(last_loss undisturbed)"
        ;;
    esac
}

one_fault() { # FAULT
    local fault=$1 noticed_after=- again_after=- at words
    RUN=$fault
    prepare "$fault"
    wanted_of "$fault"
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
    batch_process_killed)
        mend "$fault"
        link_rate off
        noticed_after=$(since "$at")
        ;;
    *)
        [ "$fault" = full_disk ] || mend "$fault" &
        wait_until 90 "$RUN: noticed" noticed
        noticed_after=$(since "$at")
        [ "$fault" != full_disk ] || mend "$fault"
        link_rate off
        ;;
    esac
    case $fault in
    slurmctld_restarted | full_disk | not_a_number) ;;
    *)
        wait_until 120 "$RUN: running again" runs_again
        again_after=$(since "$at")
        ;;
    esac
    ends_whole 180
    told_of "$fault"
    words=$(first_words)
    [ "$fault" != batch_process_killed ] || words="status: $(sed -n 's/^\(state  *lost\|next\)  *//p' "$WORK/status" | tail -n 1)"
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
pass "$count faults, each run ended as it should have; table in $TABLE"
