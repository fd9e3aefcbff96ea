# Shell helpers of the end-to-end tests; sourced, with the repository's root as working folder.
#
# A test exits 0 (pass), 1 (fail) or 77 (skipped) and says why in one line.
# BUILD: where the programs are.  SHARED: the folder of test videos and golden files.
# shellcheck shell=bash

set -u
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
BUILD=${BUILD:-build}
SHARED=${SHARED:-../shared}
# DEVICE: what training tests compute on: cpu (default), cuda, or emulated, where another worker stands in for the usual one.
DEVICE=${DEVICE:-cpu}
WORKER=$BUILD/lockstep-worker
device_options=()
if [ "$DEVICE" = emulated ]; then
    WORKER=$BUILD/emulated/lockstep-worker
    LOCKSTEP_WORKER=$(realpath "$WORKER")
    export LOCKSTEP_WORKER LOCKSTEP_TEST_DEVICE=emulated
    device_options=(--device emulated)
elif [ "$DEVICE" = cuda ]; then
    export LOCKSTEP_TEST_DEVICE=cuda
    device_options=(--device cuda --set lockstep.deterministic=true)
fi
export device_options # for the script that sources this
TEST_NAME=$(basename "$0" .sh)
WORK=$(mktemp -d "${TMPDIR:-/tmp}/lockstep-$TEST_NAME.XXXXXX") || exit 1
CLEANUP=()

# Several ranks share few cores here; containers may forbid reading another process's memory.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_hwloc_base_binding_policy=none OMPI_MCA_mpi_yield_when_idle=1
export OMPI_MCA_plm_rsh_agent=${OMPI_MCA_plm_rsh_agent:-true} # no ssh is needed on one machine
export OMP_WAIT_POLICY=passive
# Open MPI's modules keep no frame pointers: only the slow unwinder sees whose a leak is.
export ASAN_OPTIONS=${ASAN_OPTIONS:-}:fast_unwind_on_malloc=0

# end_left: programs of ours that still work in this test's folder, where it failed before it had stopped them.
end_left() {
    local process words
    for process in /proc/[0-9]*; do
        mapfile -d '' -t words 2>/dev/null <"$process/cmdline" || continue
        case "${words[0]:-}:${words[*]}" in
        *lockstep:*"$WORK/"* | *lockstep-worker:*"$WORK/"*) kill -KILL "${process#/proc/}" 2>/dev/null ;;
        esac
    done
}
finish() {
    local command
    end_left
    for command in "${CLEANUP[@]}"; do eval "$command"; done
    rm -rf "$WORK"
}
trap finish EXIT

# A sanitizer's report in a log is a failure: the exit code of a rank may be lost on its way.
pass() {
    local report
    report=$(grep -rhs -m1 -e 'ERROR: AddressSanitizer' -e 'ERROR: LeakSanitizer' -e 'runtime error:' \
        --include='*log*' "$WORK" | head -1) || : # nothing found, under the caller's set -e
    [ -z "$report" ] || fail "$report"
    echo "$TEST_NAME: ok${1:+: $1}"
    exit 0
}
fail() { [ -z "${KEEP:-}" ] || cp -r "$WORK" "$KEEP"; echo "$TEST_NAME: FAILED: $1"; exit 1; }
skip() { echo "$TEST_NAME: skipped: $1"; exit 77; }

need_program() { [ -x "$1" ] || fail "$1 is not built"; }
need_shared() { [ -e "$SHARED/$1" ] || skip "$SHARED/$1 is not there"; }

# ranks N SECONDS COMMAND...: run under mpirun with a time limit.
ranks() {
    local count=$1 limit=$2
    shift 2
    timeout -k 5 "$limit" mpirun --quiet --oversubscribe -n "$count" "$@"
}
