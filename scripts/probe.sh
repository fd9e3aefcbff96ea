#!/usr/bin/env bash
# Says which compilers and libraries can be used, and why not: compiles, links and runs the small programs
# of scripts/probes/ as the build would.
#
#   scripts/probe.sh            the table that `make config` prints; exit 1 if one that the programs need is missing
#   scripts/probe.sh --quiet    only the exit status
#   scripts/probe.sh --cuda     only the line about CUDA
#
# CC and NVCC name the compilers, CUDA_LIBS is what CUDA programs are linked with.  CUDA=0 switches GPUs off.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

CC=${CC:-gcc}
CUDA=${CUDA:-auto}
CUDA_HOME=${CUDA_HOME:-/usr/local/cuda}
NVCC=${NVCC:-$CUDA_HOME/bin/nvcc}
CUDA_LIBS=${CUDA_LIBS:--L$CUDA_HOME/lib64 -Xlinker -rpath=$CUDA_HOME/lib64 -lcublasLt -lcublas}
quiet=0
cuda_only=0
case "${1-}" in
--cuda) cuda_only=1 ;;
--quiet) quiet=1 ;;
"") ;;
*)
    echo "probe: unknown option $1" >&2
    exit 2
    ;;
esac

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
failed=0

say() { # NAME yes|no WHY
    [ "$quiet" = 1 ] || printf '%-10s %-4s %s\n' "$1" "$2" "$3"
}

# The first line of an error text that tells something.
reason() {
    grep -m1 -E 'error|cannot|not found|undefined|No such' "$folder/log" | cut -c1-160
}

# try COMMAND...: compile with it and run the program; the reason is in `why` when that fails, the program's
# first line when it does not.
try() {
    rm -f "$folder/program"
    if ! "$@" -o "$folder/program" >"$folder/log" 2>&1; then
        why="does not compile: $(reason)"
        return 1
    fi
    if ! "$folder/program" >"$folder/log" 2>&1 </dev/null; then
        why="compiles but does not run: $(head -n 1 "$folder/log")"
        return 1
    fi
    why=$(head -n 1 "$folder/log")
}

# library NAME PURPOSE FLAGS: FLAGS are names for pkg-config, or linker flags that start with "-".
library() {
    local name=$1 purpose=$2 flags=$3 why=
    read -r -a compiler <<<"$CC"
    if ! command -v "${compiler[0]}" >/dev/null; then
        why="no compiler '$CC'"
    else
        if [ "${flags#-}" = "$flags" ]; then
            # Where pkg-config does not know a name the compiler may still find the library.
            # shellcheck disable=SC2086 # a list of names
            flags=$(pkg-config --cflags --libs $flags 2>/dev/null)
        fi
        # shellcheck disable=SC2086 # a list of flags
        if try "${compiler[@]}" "scripts/probes/$name.c" -std=gnu17 -fopenmp $flags; then
            say "$name" yes "$purpose: $why"
            return
        fi
    fi
    say "$name" no "$purpose: $why; run \`make setup\`"
    [ "$name" = cmocka ] || failed=1
}

program() { # NAME PURPOSE
    if command -v "$1" >/dev/null; then
        say "$1" yes "$2: $("$1" --version 2>&1 | head -n 1)"
    else
        say "$1" no "$2: not in PATH; run \`make setup\`"
        failed=1
    fi
}

# The build asks this at every start, so the answer is kept in the file CUDA_FOUND until nvcc changes.
gpu() {
    local found=$folder/found why='' answer
    [ -z "${CUDA_FOUND-}" ] || found=$CUDA_FOUND
    if [ "$CUDA" = 0 ] || [ "$CUDA" = no ]; then
        answer="no GPUs: switched off (CUDA=$CUDA)"
    elif ! command -v "$NVCC" >/dev/null; then
        answer="no GPUs: no $NVCC"
    elif [ "$found" -nt "$(command -v "$NVCC")" ] && grep -qF " $NVCC: " "$found"; then
        answer=$(cat "$found")
    else
        # shellcheck disable=SC2086 # a list of flags
        if try "$NVCC" scripts/probes/cuda.cu $CUDA_LIBS; then
            answer="yes GPUs: $NVCC: $why"
        else
            answer="no GPUs: $NVCC: $why"
        fi
        mkdir -p "$(dirname "$found")"
        echo "$answer" >"$found"
    fi
    say cuda "${answer%% *}" "${answer#* }"
}
# The headers make the fused attention part of a CUDA build; the library is looked for when a program starts.
cudnn() {
    read -r -a compiler <<<"$CC"
    if [ "$CUDA" = 0 ] || [ "$CUDA" = no ]; then
        say cudnn no "fused attention: switched off (CUDA=$CUDA)"
    elif ! command -v "${compiler[0]}" >/dev/null; then
        say cudnn no "fused attention: no compiler '$CC'"
    elif LD_LIBRARY_PATH=${LD_LIBRARY_PATH:-}:$CUDA_HOME/lib64 try "${compiler[@]}" scripts/probes/cudnn.c -std=gnu17 -I"$CUDA_HOME/include" -ldl; then
        say cudnn yes "fused attention in bf16: $why"
    else
        say cudnn no "fused attention: $why"
    fi
}
if [ "$cuda_only" = 1 ]; then
    gpu
    exit 0
fi

library compiler "C17 and OpenMP" "-fopenmp"
program pkg-config "finds libraries"
library mpi "workers" "ompi-c"
program mpirun "starts workers"
library hdf5 "datasets and checkpoints" "hdf5"
library ffmpeg "video" "libavformat libavcodec libavutil libswscale"
library onednn "matrix products" "-ldnnl"
library yaml "configs" "yaml-0.1"
library cjson "manifests and metrics" "libcjson"
library xxhash "checksums" "libxxhash"
library cmocka "unit tests" "cmocka"
cudnn
gpu
exit "$failed"
