# What can go wrong with the run RUN, submitted as JOB with OPTIONS, and how it is noticed.  Sourced.
# shellcheck shell=bash
# shellcheck source=tests/cluster/lib_cluster.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib_cluster.sh"
JOB=
OPTIONS=()
LINES_BEFORE=1 # lines of the job's output up to the fault, and one

cat_logs() { cat "$WORK/$RUN"/slurm-*.log "$WORK/$RUN"-[0-9]*.log 2>/dev/null; }
# What the user was told since the fault: the first warning or error, or the first word of a stop.  That a rank or the
# data was slow for a moment is told on a busy machine without any fault.
first_words() {
    cat_logs | tail -n +"$LINES_BEFORE" | grep -v -e ' hiccup ' -e ' slow_rank ' -e ' data_too_slow ' |
        grep -m1 -E ' level=warn | level=error |^lockstep: | stopping | stopped step=| requeued job=|run_folder_left_behind' |
        sed -E 's/^[0-9TZ:-]+ level=[a-z]+ //; s/\|/,/g' | sed "s#$WORK/##g" | cut -c1-150
}
# shellcheck disable=SC2317 # wait_until calls these
# Whether something was noticed since the fault.
noticed() { [ -n "$(first_words)" ]; }
# Whether a step was finished by workers that were started after the fault.
# shellcheck disable=SC2317
runs_again() { cat_logs | tail -n +"$LINES_BEFORE" | sed -n '/ workers_started /,$p' | grep -q '^step '; }
# shellcheck disable=SC2317
worker_is_gone() { [ -z "$(process_on "$1" lockstep-worker)" ]; }
# shellcheck disable=SC2317
no_worker_lives() {
    local node
    for node in $(seq -f 'node%g' "$NODES"); do worker_is_gone "$node" || return 1; done
}
# hurt FAULT: what is done when the run is in its middle.
hurt() {
    local shard launcher
    case $1 in
    rank_killed) signal_on KILL node3 lockstep-worker ;;
    rank_stopped) signal_on STOP node4 lockstep-worker ;;
    rank_segfault) signal_on SEGV node2 lockstep-worker ;;
    exit_in_save) wait_until 60 "$RUN: the armed worker dies" worker_is_gone node3 ;;
    damaged_checkpoint) # the newest, once no newer one can come, and before the launcher goes on
        launcher=$(launcher_of "$RUN")
        on_node node1 kill -s STOP "$launcher"
        signal_on KILL node2 lockstep-worker
        wait_until 60 "$RUN: all workers end" no_worker_lives
        shard=$(readlink -f "$WORK/$RUN/checkpoints/latest")/shard-0001-of-0004.h5
        printf 'damage' | dd of="$shard" bs=1 seek=$(($(stat -c %s "$shard") / 2)) conv=notrunc status=none
        on_node node1 kill -s CONT "$launcher"
        ;;
    full_disk) head -c 200000000 /dev/zero >"$WORK/disk/filler" 2>/dev/null || : ;;
    mpirun_killed) signal_on KILL node1 mpirun ;;
    launcher_killed) on_node node1 kill -s KILL "$(launcher_of "$RUN")" ;;
    batch_process_killed) # the launcher's guard, which is what SLURM watches
        on_node node1 kill -s KILL "$(on_node node1 ps -o ppid= -p "$(launcher_of "$RUN")")" || fail "$RUN: no guard"
        ;;
    cable_cut) "$cluster" cut node3 ;;
    node_crash) "$cluster" crash node3 ;;
    batch_node_crash) "$cluster" crash node1 ;;
    requeue) slurm scontrol requeue "$JOB" ;;
    preempted)
        slurm sbatch --parsable --partition=urgent --nodes=$NODES --exclusive --output=/dev/null --wrap='sleep 2' >"$WORK/urgent" ||
            fail "$RUN: $(cat "$WORK/urgent")"
        ;;
    time_limit) ;;                 # asked for at the start
    flipped_bit | bad_node | rank_loops | not_a_number | numbers_stay_bad) ;; # armed, and about to come
    slurmd_killed) "$cluster" stop-slurmd node2 ;;
    slurmctld_restarted)
        sleep 6 # it writes jobs down within seconds; one that it has not would be unknown to it afterwards, and ended
        "$cluster" stop-slurmctld
        ;;
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
    full_disk) rm "$WORK/disk/filler" ;;
    batch_process_killed)
        wait_until 40 "$RUN: the job ends" has_ended "$JOB"
        slurm "$lockstep" status "$WORK/$RUN" >"$WORK/status" || fail "$RUN: status: exit code $?"
        grep -Eq '^state  *(lost|stopped)' "$WORK/status" || fail "$RUN: status does not say lost: $(cat "$WORK/status")"
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


# The cluster, with a partition whose jobs take the nodes of others, which get SIGTERM and 10 s; the data; a small disk.
faults_up() {
    export MINI_CONF='PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=urgent Nodes=node[1-4] PriorityTier=10 PreemptMode=OFF State=UP
PartitionName=DEFAULT GraceTime=10 PriorityTier=1'
    mkdir -p "$WORK/disk"
    mount -t tmpfs -o size=110m tmpfs "$WORK/disk" 2>/dev/null && CLEANUP+=("umount '$WORK/disk' 2>/dev/null")
    cluster_up
    make_data
}
# undisturbed: the digest of a run that nobody hurts, into DIGEST.
undisturbed() {
    RUN=undisturbed
    submit "$RUN"
    wait_until 120 "undisturbed: finished" has_state "$RUN" finished
    wait_until 20 "undisturbed: nothing left" nothing_left
    DIGEST=$(digest_of "$RUN")
    WANTED=$DIGEST
    [ "${#DIGEST}" = 32 ] || fail "undisturbed: no digest: $(describe)"
}
# ends_whole SECONDS: the run ends by itself with the digest WANTED ("": any), and leaves nothing.
ends_whole() {
    local digest
    wait_until "$1" "$RUN: finished" has_state "$RUN" finished
    wait
    wait_until 30 "$RUN: job ended" has_ended "$JOB"
    wait_until 20 "$RUN: nothing left" nothing_left
    [ "$(step_of "$RUN")" = 200 ] || fail "$RUN: ended at step $(step_of "$RUN")"
    digest=$(digest_of "$RUN")
    [ -z "$WANTED" ] || [ "$digest" = "$WANTED" ] || fail "$RUN: digest $digest, wanted $WANTED; $(describe)"
    "$lockstep" verify "$WORK/$RUN" >"$WORK/log" 2>&1 || fail "$RUN: does not verify: $(head -1 "$WORK/log")"
}
