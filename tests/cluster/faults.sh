#!/bin/bash
# timeout: 1500
# alone
# tests/cluster/faults.sh [FAULT...]: runs of 200 steps on 4 virtual nodes under a real SLURM, each hurt once in its
# middle.  Each must end by itself (one of them: after a second `lockstep submit`) with the digest of a run that nobody
# disturbed, a final checkpoint that verifies, and nothing left on any node.  What was noticed when, and what the user
# read, goes into a table: $LOGS/faults.md.  Without arguments: all faults.
# shellcheck source=tests/cluster/lib_cluster.sh
. "$(dirname "$0")/lib_cluster.sh"
LOGS=${LOGS:-$BUILD}
TABLE=$LOGS/faults.md
ALL="rank_killed rank_segfault exit_in_save damaged_checkpoint full_disk mpirun_killed launcher_killed cable_cut
    node_crash batch_node_crash requeue preempted time_limit slurmd_killed slurmctld_restarted"

cat_logs() { cat "$WORK/$RUN"/slurm-*.log 2>/dev/null; }
# What the user was told since the fault: the first warning or error, or the first word of a stop.
first_words() {
    cat_logs | tail -n +"$LINES_BEFORE" |
        grep -m1 -E ' level=warn | level=error |^lockstep: | stopping |run_folder_left_behind' |
        sed -E 's/^[0-9TZ:-]+ level=[a-z]+ //; s/\|/,/g' | sed "s#$WORK/##g" | cut -c1-150
}
# shellcheck disable=SC2317 # wait_until calls these
# Whether something was noticed since the fault.
noticed() { [ -n "$(first_words)" ]; }
# Whether a step was finished by workers that were started after the fault.
# shellcheck disable=SC2317
runs_again() { cat_logs | tail -n +"$LINES_BEFORE" | sed -n '/ workers_started /,$p' | grep -q '^step '; }
# Steps that were done twice: the last one that was finished before the next start (the metrics know it when the fault
# comes, the log may know more) less the step from which that start went on.
repeated() {
    cat_logs | awk -v last="$STEP_BEFORE" '/^step / { split($2, a, "/"); if (a[1] + 0 > last) last = a[1] + 0 }
        NR >= from_line && / rank=0 resume / && match($0, /finished_steps=[0-9]+/) {
            print last - substr($0, RSTART + 15, RLENGTH - 15); found = 1; exit }
        END { if (!found) print 0 }' from_line="$LINES_BEFORE"
}

# hurt FAULT: what is done to the run RUN, submitted as job JOB, when it is in its middle.
hurt() {
    local shard
    case $1 in
    rank_killed) signal_on KILL node3 lockstep-worker ;;
    rank_segfault) signal_on SEGV node2 lockstep-worker ;;
    exit_in_save) ;; # armed before the start
    damaged_checkpoint)
        shard=$(readlink -f "$WORK/$RUN/checkpoints/latest")/shard-0001-of-0004.h5
        printf 'damage' | dd of="$shard" bs=1 seek=$(($(stat -c %s "$shard") / 2)) conv=notrunc status=none
        signal_on KILL node2 lockstep-worker
        ;;
    full_disk) head -c 200000000 /dev/zero >"$WORK/disk/filler" 2>/dev/null || : ;;
    mpirun_killed) signal_on KILL node1 mpirun ;;
    launcher_killed) signal_on KILL node1 lockstep ;;
    cable_cut) "$cluster" cut node3 ;;
    node_crash) "$cluster" crash node3 ;;
    batch_node_crash) "$cluster" crash node1 ;;
    requeue) slurm scontrol requeue "$JOB" ;;
    preempted)
        slurm sbatch --parsable --partition=urgent --nodes=$NODES --exclusive --output=/dev/null --wrap='sleep 2' >"$WORK/urgent" ||
            fail "$RUN: $(cat "$WORK/urgent")"
        ;;
    time_limit) ;; # asked for at the start
    slurmd_killed) "$cluster" stop-slurmd node2 ;;
    slurmctld_restarted) "$cluster" stop-slurmctld ;;
    *) fail "no fault is called $1" ;;
    esac
}
# mend FAULT: what is repaired a few seconds later.
mend() {
    case $1 in
    cable_cut) sleep 12 && "$cluster" heal node3 ;;
    node_crash) sleep 5 && "$cluster" reboot node3 ;;
    batch_node_crash) sleep 5 && "$cluster" reboot node1 ;;
    slurmd_killed) sleep 20 && "$cluster" start-slurmd node2 ;;
    slurmctld_restarted) sleep 3 && "$cluster" start-slurmctld ;;
    full_disk) sleep 4 && rm "$WORK/disk/filler" ;;
    launcher_killed)
        wait_until 40 "$RUN: the job ends" has_ended "$JOB"
        slurm "$lockstep" status "$WORK/$RUN" >"$WORK/status" || fail "$RUN: status: exit code $?"
        grep -q '^state  *lost' "$WORK/status" || fail "$RUN: status does not say lost: $(cat "$WORK/status")"
        submit "$RUN" "${OPTIONS[@]}"
        JOB=$(job_of "$RUN")
        ;;
    esac
}

# Some things take SLURM half a minute: a slow network makes the run last, and changes none of its bits.
link_rate() { # RATE
    local node
    for node in $(seq -f 'node%g' "$NODES"); do "$cluster" rate "$node" "$1" || fail "cannot set a rate"; done
}

prepare() { # FAULT: into OPTIONS, and what has to be there before the start
    OPTIONS=()
    STEP=60
    unset LS_FAULT
    case $1 in time_limit | slurmd_killed | preempted) STEP=30 && link_rate 25mbit ;; esac
    case $1 in
    exit_in_save) export LS_FAULT=kill:fsync:7:2:1 ;; # rank 2, in its fourth save or so, only at the first start
    time_limit) OPTIONS=(--set 'slurm.time="1"' --set slurm.signal=USR1@53) ;;
    full_disk) mkdir -p "$WORK/disk/$RUN" && ln -s "disk/$RUN" "$WORK/$RUN" ;;
    esac
}

one_fault() { # FAULT
    local fault=$1 digest noticed_after=- again_after=- at
    RUN=$fault
    prepare "$fault"
    submit "$RUN" "${OPTIONS[@]}"
    JOB=$(job_of "$RUN")
    wait_until 60 "$RUN: step $STEP" has_step "$RUN" "$STEP"
    LINES_BEFORE=$(($(cat_logs | wc -l) + 1))
    STEP_BEFORE=$(step_of "$RUN")
    at=$(now)
    hurt "$fault"
    case $fault in
    slurmctld_restarted) mend "$fault" ;;
    launcher_killed)
        mend "$fault"
        noticed_after=$(since "$at")
        ;;
    *)
        mend "$fault" &
        wait_until 90 "$RUN: noticed" noticed
        noticed_after=$(since "$at")
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
    wait_until 180 "$RUN: finished" has_state "$RUN" finished
    wait
    wait_until 30 "$RUN: job ended" has_ended "$JOB"
    wait_until 20 "$RUN: nothing left" nothing_left
    [ "$(step_of "$RUN")" = 200 ] || fail "$RUN: ended at step $(step_of "$RUN")"
    digest=$(digest_of "$RUN")
    [ "$digest" = "$DIGEST" ] || fail "$RUN: digest $digest, undisturbed $DIGEST; $(describe)"
    "$lockstep" verify "$WORK/$RUN" >"$WORK/log" 2>&1 || fail "$RUN: does not verify: $(head -1 "$WORK/log")"
    echo "| ${fault//_/ } | $noticed_after | $again_after | $(repeated) | $(first_words | sed 's/^$/-/') |" >>"$TABLE"
    tail -n 1 "$TABLE"
}

faults=${*:-$ALL}
# A partition whose jobs take the nodes of others, which get SIGTERM and 10 s.
export MINI_CONF='PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=urgent Nodes=node[1-4] PriorityTier=10 PreemptMode=OFF State=UP
PartitionName=DEFAULT GraceTime=10 PriorityTier=1'
mkdir -p "$WORK/disk" && chmod 755 "$WORK"
mount -t tmpfs -o size=110m tmpfs "$WORK/disk" 2>/dev/null && CLEANUP+=("umount '$WORK/disk' 2>/dev/null")
cluster_up
make_data
RUN=undisturbed
submit "$RUN"
wait_until 120 "undisturbed: finished" has_state "$RUN" finished
wait_until 20 "undisturbed: nothing left" nothing_left
DIGEST=$(digest_of "$RUN")
[ "${#DIGEST}" = 32 ] || fail "undisturbed: no digest: $(describe)"
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
