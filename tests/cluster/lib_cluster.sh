# A SLURM cluster of 4 virtual nodes on this machine (cluster.sh) and what tests do with it: submit a run, wait for it,
# hurt it, look at what is left.  Sourced; skipped where root, namespaces or SLURM are missing.
# shellcheck shell=bash
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../e2e/lib.sh"
cluster=tests/cluster/cluster.sh
lockstep=$BUILD/lockstep
case $lockstep in /*) ;; *) lockstep=$PWD/$lockstep ;; esac
NODES=4
[ "$(id -u)" = 0 ] || skip "network namespaces need root"
for tool in slurmctld slurmd munged sbatch mpirun tc ip unshare nsenter; do
    command -v "$tool" >/dev/null || [ -x "/usr/sbin/$tool" ] || skip "$tool is not installed"
done
need_program "$lockstep"
need_program "$BUILD/lockstep-worker"
need_program "$BUILD/tools/motion_videos"

# Four nodes share the cores of this machine, and every daemon of Open MPI would pin to the first.
export OMPI_MCA_btl_tcp_if_include=eth0 OMPI_MCA_oob_tcp_if_include=eth0
unset OMPI_MCA_plm_rsh_agent # SLURM starts the daemons

cluster_up() {
    unshare --net --uts --ipc --mount --pid --fork true 2>"$WORK/log" || skip "no namespaces: $(tail -1 "$WORK/log")"
    # munged wants a path that all may enter, which TMPDIR may not be.
    MINI_STATE=$(mktemp -d /tmp/lockstep-cluster.XXXXXX) || fail "no folder in /tmp"
    chmod 755 "$MINI_STATE"
    export MINI_STATE
    CLEANUP+=("$cluster down >/dev/null 2>&1; rm -rf '$MINI_STATE'")
    "$cluster" up "$NODES" >"$WORK/cluster.log" 2>&1 ||
        fail "the virtual cluster does not come up: $(grep -v -e debug -e '^\[' "$WORK/cluster.log" | tail -3)"
}
slurm() { "$cluster" exec "$@"; }
on_node() { # NODE COMMAND...
    local node=$1
    shift
    "$cluster" exec -n "$node" "$@"
}

make_data() {
    "$BUILD/tools/motion_videos" -o "$WORK/videos" --count 16 --seed 1 >"$WORK/log" 2>&1 ||
        fail "motion_videos: $(tail -1 "$WORK/log")"
    "$lockstep" pack "$WORK/videos/LIST.csv" -o "$WORK/data" >"$WORK/log" 2>&1 || fail "pack: $(tail -1 "$WORK/log")"
}

# submit RUN [OPTION...]: 200 steps on all nodes, saved every 25.
submit() {
    local run=$1
    shift
    slurm "$lockstep" submit tests/cluster/run.yaml --set "folder=$WORK/$run" --set "data.datasets=[$WORK/data]" \
        "$@" >"$WORK/$run.submit" 2>&1 || fail "$run: submit: $(tail -1 "$WORK/$run.submit")"
}
job_of() { sed -n 's/^job  *\([0-9]*\).*/\1/p' "$WORK/$1.submit"; }
now() { date +%s.%N; }
since() { awk -v a="$1" -v b="$(now)" 'BEGIN { printf "%.1f", b - a }'; }

step_of() { # RUN: its last finished step, 0 before the first
    local step
    step=$(tail -n 1 "$WORK/$1/metrics.jsonl" 2>/dev/null | sed -n 's/^{"step":\([0-9]*\),.*/\1/p')
    echo "${step:-0}"
}
state_of() { # RUN: what the launcher wrote last
    sed -n 's/.*"state":[[:space:]]*"\([a-z]*\)".*/\1/p' "$WORK/$1/job.json" 2>/dev/null
}
launcher_of() { # RUN: the process that the launcher's own record names, on the node of the batch process
    sed -n 's/.*"pid":[[:space:]]*\([0-9]*\).*/\1/p' "$WORK/$1/job.json"
}
job_state() { slurm squeue --noheader --states=all --format=%T --jobs "$1" 2>/dev/null; }

# wait_until SECONDS WHAT COMMAND...: until the command succeeds; else the test fails and says what did not come.
wait_until() {
    local limit=$1 what=$2 begin=$SECONDS
    shift 2
    while ! "$@"; do
        [ $((SECONDS - begin)) -lt "$limit" ] || fail "$what: not after $limit s; $(describe)"
        sleep 0.1
    done
}
RUN=  # the run that failures tell of
LEFT= # what nothing_left has found
describe() {
    [ -z "$RUN" ] && return
    [ -z "$LEFT" ] || echo "left on $LEFT"
    echo "state $(state_of "$RUN"), step $(step_of "$RUN"), queue: $(slurm squeue --noheader --format='%i %T %R' 2>&1 | tr '\n' ' '), log:"
    cat "$WORK/$RUN"/slurm-*.log "$WORK/$RUN"-[0-9]*.log 2>/dev/null | grep -v '^step ' | tail -n 12
}
has_step() { [ "$(step_of "$1")" -ge "$2" ]; }
has_state() { [ "$(state_of "$1")" = "$2" ]; }
has_ended() { # JOB: and SLURM has let its nodes go
    case $(job_state "$1") in PENDING | RUNNING | COMPLETING | CONFIGURING | REQUEUED | SUSPENDED) return 1 ;; esac
}

digest_of() { # RUN
    "$lockstep" inspect "$WORK/$1/checkpoints/latest" --json 2>/dev/null |
        sed -n 's/.*"digest": *"\([0-9a-f]*\)".*/\1/p' | head -1
}

# process_on NODE PROGRAM: ids there of that program's processes that work for the run RUN.
process_on() {
    # shellcheck disable=SC2016 # expands on the node
    on_node "$1" sh -c 'for p in /proc/[0-9]*; do
        words=$(tr "\0" " " 2>/dev/null <"$p/cmdline") || continue
        program=${words%% *}
        [ "${program##*/}" = "$1" ] && case "$words" in *" $2"[/\ ]*) echo "${p#/proc/}" ;; esac
    done' sh "$2" "$WORK/$RUN" 2>/dev/null
}
signal_on() { # SIGNAL NODE PROGRAM: to the first of them
    local process
    process=$(process_on "$2" "$3" | head -1)
    [ -n "$process" ] || fail "$RUN: no $3 on $2; $(describe)"
    on_node "$2" kill -s "$1" "$process" || fail "$RUN: cannot signal $3 on $2"
}

# nothing_left: no process and no shared memory of a run on any node.
nothing_left() {
    local node left
    for node in $(seq -f 'node%g' "$NODES"); do
        # shellcheck disable=SC2016 # expands on the node
        left=$(on_node "$node" sh -c 'ls -d /dev/shm/* 2>/dev/null
            for name in lockstep orted mpirun srun; do pgrep -l "$name"; done' 2>&1 | tr '\n' ' ')
        [ -z "$left" ] || {
            LEFT="$node: $left"
            return 1
        }
    done
}
