#!/usr/bin/env bash
# First check of a machine with an NVIDIA card: golden files, training, resuming, a training step's speed.
#
#   ./run.sh [OUTPUT]     raw outputs go to OUTPUT (default: results-DATE beside this script)
#
# Needs the driver and CUDA's libraries (cuBLAS, the runtime); cuDNN is used where it is found, and the output says so.
# Exit codes: 0 everything passed, 1 something failed (the last lines say what), 2 usage, 12 no card or no library.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
[ $# -le 1 ] || {
    echo "run.sh: at most one argument, the folder for the outputs" >&2
    exit 2
}
out=${1:-$here/results-$(date -u +%Y-%m-%dT%H%M%SZ)}
device=${LOCKSTEP_BUNDLE_DEVICE:-cuda} # another one is for the tests of this script
steps=${LOCKSTEP_BUNDLE_STEPS:-50}       # so are STEPS, WIDTH, HEADS, CROP and BENCH
failed=()

no_card() {
    echo "run.sh: $1" >&2
    exit 12
}

# Folders where CUDA's and cuDNN's libraries lie on machines where the loader does not know them.
folders() {
    local folder
    for folder in "${CUDA_HOME:-/usr/local/cuda}/lib64" /usr/local/cuda*/lib64 /usr/lib/x86_64-linux-gnu \
        /usr/local/lib/python3*/*-packages/nvidia/*/lib /usr/lib/python3*/*-packages/nvidia/*/lib; do
        [ -d "$folder" ] && printf ':%s' "$folder"
    done
}

check_machine() {
    LD_LIBRARY_PATH=${LD_LIBRARY_PATH:-}$(folders)
    export LD_LIBRARY_PATH=${LD_LIBRARY_PATH#:}
    if [ "$device" = cuda ]; then
        command -v nvidia-smi >/dev/null || no_card "no NVIDIA card here: there is no nvidia-smi (is the driver installed?)"
        cards=$(nvidia-smi -L 2>&1) || no_card "no NVIDIA card here: nvidia-smi says: $(head -n 1 <<<"$cards")"
        [ -n "$cards" ] || no_card "no NVIDIA card here: nvidia-smi -L lists none"
    fi
    local missing
    missing=$(ldd "$here"/bin/* 2>/dev/null | awk '/not found/ { print $1 }' | sort -u | tr '\n' ' ')
    [ -z "$missing" ] || no_card "libraries are missing: ${missing}(put their folder into LD_LIBRARY_PATH)"
}

facts() {
    echo "date: $(date -u +%Y-%m-%dT%H:%M:%SZ)"
    echo "bundle: $(cat "$here/VERSION")"
    echo "machine: $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(getconf _NPROCESSORS_ONLN) cores, $(uname -sr)"
    echo "device: $device"
    if [ "$device" = cuda ]; then
        nvidia-smi --query-gpu=index,name,driver_version,memory.total,clocks.max.sm,power.limit --format=csv
    fi
}

# part NAME COMMAND...: its output into NAME.txt, one line of what came of it.
part() {
    local name=$1 code=0 begin=$SECONDS
    shift
    { printf '$'; printf ' %q' "$@"; echo; } >"$out/$name.txt"
    "$@" >>"$out/$name.txt" 2>&1 || code=$?
    if [ "$code" = 0 ]; then
        echo "ok      $name ($((SECONDS - begin)) s): $(grep -v '^ *$' "$out/$name.txt" | tail -n 1)"
    else
        failed+=("$name")
        echo "FAILED  $name (exit code $code): $(grep -m1 -e MISS -e level=error -e rror "$out/$name.txt" || tail -n 1 "$out/$name.txt")"
    fi
}

# train RUN DTYPE EPOCH [OPTION...]: the worker on the run, from where it is.
train() {
    local run=$out/runs/$1 dtype=$2 epoch=$3
    shift 3
    mkdir -p "$run"
    sed "s|FOLDER|$run|; s|DATASET|$here/dataset|; s|DTYPE|$dtype|; s|WIDTH|${LOCKSTEP_BUNDLE_WIDTH:-384}|
         s|HEADS|${LOCKSTEP_BUNDLE_HEADS:-6}|; s|CROP|${LOCKSTEP_BUNDLE_CROP:-64}|; s|STEPS|$steps|" "$here/train.yaml" >"$run/config.yaml"
    "$here/bin/lockstep-worker" "$run" --run-epoch "$epoch" --device "$device" --progress lines "$@"
}

# Stopped in the middle and taken up again: every loss is that of the run that went through.
resume() {
    local dtype=$1 losses
    train "stopped-$dtype" "$dtype" 1 --stop-at $((steps / 2)) && train "stopped-$dtype" "$dtype" 2 || return
    losses=$(for run in straight stopped; do
        sed -n 's/.*"step":\([0-9]*\),.*"loss":\([^,]*\),.*/\1 \2/p' "$out/runs/$run-$dtype/metrics.jsonl" | sort -n >"$out/runs/$run-$dtype.losses"
        wc -l <"$out/runs/$run-$dtype.losses"
    done | sort -u)
    [ "$losses" = "$steps" ] || {
        echo "error: $steps losses are wanted in both runs, there are $losses"
        return 1
    }
    diff "$out/runs/straight-$dtype.losses" "$out/runs/stopped-$dtype.losses" >"$out/runs/$dtype.diff" || {
        echo "error: the losses differ after resuming: $(sed -n 2p "$out/runs/$dtype.diff")"
        return 1
    }
    echo "stopped at $((steps / 2)) and resumed: the $steps losses are those of the straight run, last $(tail -n 1 "$out/runs/straight-$dtype.losses")"
}

check_machine
mkdir -p "$out/runs" || exit 1
facts | tee "$out/facts.txt"
for dtype in float32 bfloat16; do
    for golden in "$here"/golden/pretrain_*.h5; do
        name=$(basename "$golden" .h5)
        part "golden-$name-$dtype" "$here/bin/golden" "$golden" --device "$device" --dtype "$dtype"
    done
done
part train-float32 train straight-float32 float32 1
part resume-float32 resume float32
part train-bfloat16 train straight-bfloat16 bfloat16 1
part resume-bfloat16 resume bfloat16
# shellcheck disable=SC2086 # a list of options
part benchmark-step "$here/bin/bench_step" --device "$device" ${LOCKSTEP_BUNDLE_BENCH:-}
cat "$out/benchmark-step.txt"
rm -rf "$out/runs"/*/checkpoints
if [ ${#failed[@]} -gt 0 ]; then
    echo "${#failed[@]} parts FAILED: ${failed[*]}; raw outputs are in $out"
    exit 1
fi
echo "everything passed; raw outputs are in $out"
