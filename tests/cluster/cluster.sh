#!/bin/bash
# cluster.sh - a real SLURM cluster of N nodes on one machine, from Debian packages only
# (slurm-wlm munge iproute2 [openmpi-bin]); run as root.  Built on netns.sh (same directory).
#
#   cluster.sh up N                   munged + slurmctld (on "ctl") + N slurmd's (node1..nodeN), wait for idle
#   cluster.sh down                   stop everything, leave nothing behind but $MINI_STATE/log
#   cluster.sh status
#   cluster.sh exec [-n NODE] CMD..   run sbatch/squeue/... on the login machine (ctl) or on NODE
#   cluster.sh stop-slurmd NODE       SIGKILL slurmd only (steps live on)      cluster.sh start-slurmd NODE
#   cluster.sh stop-slurmctld         SIGKILL slurmctld; jobs live on          cluster.sh start-slurmctld
#   cluster.sh crash NODE             power loss        cluster.sh reboot NODE  crashed node comes back
#   cluster.sh cut|heal NODE, rate NODE 100mbit|off     network faults, see netns.sh
#
# Environment: MINI_STATE (all state; default $TMPDIR/minislurm), MINI_CPUS (4), MINI_MEM (MB, 8000),
# MINI_GPUS (4 fake gpus a node), MINI_CONF (extra slurm.conf lines; a repeated key overrides the default).
set -eu
export MINI_STATE=${MINI_STATE:-${TMPDIR:-/tmp}/minislurm}
HERE=$(dirname "$(readlink -f "$0")"); S=$MINI_STATE; NS=$HERE/netns.sh
CPUS=${MINI_CPUS:-4} MEM=${MINI_MEM:-8000} GPUS=${MINI_GPUS:-4}
on() { "$NS" exec "$@"; }

write_conf() { # N
    local E=$S/etc/slurm i
    mkdir -p "$E" "$S"/{munge,ctld,spool,log,run,dev}; chmod 755 "$S" "$S"/*
    # munge: our own key, socket, log; the directories must be ours and not group- or world-writable
    chmod 700 "$S/munge"; [ -s "$S/munge/key" ] || (umask 077; head -c 1024 /dev/urandom >"$S/munge/key")
    chmod 711 "$S/munge"
    for i in $(seq 0 $((GPUS-1))); do [ -e "$S/dev/fakegpu$i" ] || mknod "$S/dev/fakegpu$i" c 1 3; done
    {   echo "AutoDetect=off"
        [ "$GPUS" = 0 ] || echo "Name=gpu Type=fake File=$S/dev/fakegpu[0-$((GPUS-1))]"; } >"$E/gres.conf"
    # srun --mpi=pmix makes /tmp/spmix_appdir_UID_JOB.STEP: on a shared /tmp the 2nd node fails; /dev/shm is per node
    echo "PMIxCliTmpDirBase=/dev/shm" >"$E/mpi.conf"
    : >"$E/plugstack.conf"
    {   cat <<-END
	ClusterName=mini
	SlurmctldHost=ctl(10.77.0.254)
	SlurmUser=root
	SlurmdUser=root
	AuthType=auth/munge
	CredType=cred/munge
	AuthInfo=socket=$S/munge/socket,cred_expire=5
	StateSaveLocation=$S/ctld
	SlurmdSpoolDir=$S/spool/%n
	SlurmctldPidFile=$S/run/slurmctld.pid
	SlurmdPidFile=$S/run/slurmd.%n.pid
	SlurmctldLogFile=$S/log/slurmctld.log
	SlurmdLogFile=$S/log/slurmd.%n.log
	SlurmctldDebug=verbose
	SlurmdDebug=verbose
	SlurmdParameters=config_overrides
	ProctrackType=proctrack/linuxproc
	TaskPlugin=task/none
	JobAcctGatherType=jobacct_gather/none
	AccountingStorageType=accounting_storage/none
	JobCompType=jobcomp/none
	SelectType=select/cons_tres
	SelectTypeParameters=CR_Core_Memory
	DefMemPerCPU=$((MEM/CPUS))
	SchedulerType=sched/backfill
	SchedulerParameters=sched_interval=2,bf_interval=3,batch_sched_delay=0,sched_min_interval=0
	MpiDefault=none
	ReturnToService=2
	JobRequeue=1
	SlurmctldTimeout=30
	SlurmdTimeout=10
	InactiveLimit=0
	KillWait=5
	MinJobAge=600
	MessageTimeout=5
	TCPTimeout=2
	PropagateResourceLimitsExcept=MEMLOCK
	GresTypes=gpu
	END
        [ -z "${MINI_CONF:-}" ] || printf '%s\n' "$MINI_CONF"
        for i in $(seq "$1"); do
            echo "NodeName=node$i NodeAddr=10.77.0.$i CPUs=$CPUS RealMemory=$MEM$([ "$GPUS" = 0 ] || echo " Gres=gpu:fake:$GPUS") State=UNKNOWN"
        done
        echo "PartitionName=main Nodes=node[1-$1] Default=YES MaxTime=INFINITE State=UP"
    } >"$E/slurm.conf"
}
start_slurmd() { # daemon forks into the node's PID namespace; nothing of ours stays behind
    mkdir -p "$S/spool/$1"
    on "$1" /usr/sbin/slurmd -N "$1" -f /etc/slurm/slurm.conf </dev/null >>"$S/log/$1.start" 2>&1; }
wait_idle() { # N: all nodes usable?
    local i; for i in $(seq 150); do
        [ "$(on ctl sinfo -h -N -o '%N %T' 2>/dev/null | sort -u | grep -c ' idle$')" = "$1" ] && return; sleep 0.1; done
    on ctl sinfo -N -l >&2; tail -n 5 "$S"/log/*.log >&2; return 1; }

case ${1:-} in
up)
    N=${2:?N}; mkdir -p "$S"; rm -rf "$S/ctld" "$S/spool" "$S/log"
    write_conf "$N"
    "$NS" up "$N"
    # one munged for all: the socket is a path, and a network namespace does not hide it
    on ctl munged -S "$S/munge/socket" --key-file="$S/munge/key" --pid-file="$S/munge/pid" \
        --log-file="$S/munge/log" --seed-file="$S/munge/seed" --num-threads=2
    on ctl /usr/sbin/slurmctld -c -f /etc/slurm/slurm.conf </dev/null >"$S/log/slurmctld.start" 2>&1
    for i in $(seq "$N"); do start_slurmd "node$i"; done
    wait_idle "$N"; on ctl sinfo ;;
down)
    "$NS" down      # the daemons and every job live in the nodes' PID namespaces and die with them
    rm -rf "${S:?}"/{munge,ctld,spool,run,dev,etc} ;;
status) "$NS" status; on ctl scontrol ping; on ctl sinfo -N -o '%N %T %G %E'; on ctl squeue ;;
exec) shift; n=ctl; [ "${1:-}" = -n ] && { n=$2; shift 2; }; on "$n" "$@" ;;
stop-slurmd)  on "$2" kill -9 "$(cat "$S/run/slurmd.$2.pid")" ;;
stop-slurmctld)  on ctl kill -9 "$(cat "$S/run/slurmctld.pid")" ;;
start-slurmctld) on ctl /usr/sbin/slurmctld -f /etc/slurm/slurm.conf </dev/null >>"$S/log/slurmctld.start" 2>&1 ;;
start-slurmd) start_slurmd "$2" ;;
reboot) "$NS" boot "$2"; start_slurmd "$2" ;;
crash|cut|heal|rate) "$NS" "$@" ;;
*) sed -n '2,/^# MINI_GPUS/p' "$0"; exit 2 ;;
esac
