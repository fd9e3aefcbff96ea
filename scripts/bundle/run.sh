#!/usr/bin/env bash
# First check of a machine with NVIDIA cards: golden files, training, resuming, training on all cards, a step's speed.
#
#   ./run.sh [OUTPUT]     raw outputs go to OUTPUT (default: results-DATE beside this script)
#
# Needs the driver and CUDA's libraries (cuBLAS, the runtime); cuDNN, and with several cards NCCL, are used where they are
# found, and the output says so.
# Exit codes: 0 everything passed, 1 something failed (the last lines say what), 2 usage, 12 no card or no library.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
[ $# -le 1 ] || {
    echo "run.sh: at most one argument, the folder for the outputs" >&2
    exit 2
}
out=${1:-$here/results-$(date -u +%Y-%m-%dT%H%M%SZ)}
device=${LOCKSTEP_BUNDLE_DEVICE:-cuda} # another one is for the tests of this script
steps=${LOCKSTEP_BUNDLE_STEPS:-50}       # so are STEPS, WIDTH, HEADS, CROP, BENCH and CARDS
cards=${LOCKSTEP_BUNDLE_CARDS:-1}
only=${LOCKSTEP_BUNDLE_ONLY:-.} # parts whose name this matches
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
        local list
        list=$(nvidia-smi -L 2>&1) || no_card "no NVIDIA card here: nvidia-smi says: $(head -n 1 <<<"$list")"
        cards=$(grep -c '^GPU ' <<<"$list")
        [ "$cards" -gt 0 ] || no_card "no NVIDIA card here: nvidia-smi -L lists none"
        if [ -n "${CUDA_VISIBLE_DEVICES+set}" ]; then
            cards=$(tr ',' '\n' <<<"$CUDA_VISIBLE_DEVICES" | grep -c .)
            [ "$cards" -gt 0 ] || no_card "no NVIDIA card here: CUDA_VISIBLE_DEVICES is empty"
        fi
    fi
    local missing
    missing=$(ldd "$here"/bin/* 2>/dev/null | awk '/not found/ { print $1 }' | sort -u | tr '\n' ' ')
    [ -z "$missing" ] || no_card "libraries are missing: ${missing}(put their folder into LD_LIBRARY_PATH)"
}

facts() {
    echo "date: $(date -u +%Y-%m-%dT%H:%M:%SZ)"
    echo "bundle: $(cat "$here/VERSION")"
    echo "machine: $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(getconf _NPROCESSORS_ONLN) cores, $(uname -sr)"
    echo "device: $device, cards: $cards"
    if [ "$device" = cuda ]; then
        nvidia-smi --query-gpu=index,name,driver_version,memory.total,clocks.max.sm,power.limit --format=csv
    fi
}

# part NAME COMMAND...: its output into NAME.txt, one line of what came of it.
part() {
    local name=$1 code=0 begin=$SECONDS
    shift
    [[ $name =~ $only ]] || return 0
    { printf '$'; printf ' %q' "$@"; echo; } >"$out/$name.txt"
    "$@" >>"$out/$name.txt" 2>&1 || code=$?
    if [ "$code" = 0 ]; then
        echo "ok      $name ($((SECONDS - begin)) s): $(grep -v '^ *$' "$out/$name.txt" | tail -n 1)"
    else
        failed+=("$name")
        echo "FAILED  $name (exit code $code): $(grep -m1 -e MISS -e level=error -e rror "$out/$name.txt" || tail -n 1 "$out/$name.txt")"
    fi
}

# prepare RUN DTYPE: its folder, and what it is trained by.  A step is of as many micro-batches as there are cards.
prepare() {
    local run=$out/runs/$1 dtype=$2
    mkdir -p "$run"
    sed "s|FOLDER|$run|; s|DATASET|$here/dataset|; s|DTYPE|$dtype|; s|WIDTH|${LOCKSTEP_BUNDLE_WIDTH:-384}|
         s|TASKS|$((cards > 2 ? cards : 2))|
         s|HEADS|${LOCKSTEP_BUNDLE_HEADS:-6}|; s|CROP|${LOCKSTEP_BUNDLE_CROP:-64}|; s|STEPS|$steps|" "$here/train.yaml" >"$run/config.yaml"
}

# train RUN DTYPE EPOCH [OPTION...]: one card, from where the run is.
train() {
    local run=$1 dtype=$2 epoch=$3
    shift 3
    prepare "$run" "$dtype"
    "$here/bin/lockstep-worker" "$out/runs/$run" --run-epoch "$epoch" --device "$device" --progress lines "$@"
}

# The losses of a run, a line a step.
losses_of() { # RUN
    sed -n 's/.*"step":\([0-9]*\),.*"loss":\([^,]*\),.*/\1 \2/p' "$out/runs/$1/metrics.jsonl" | sort -n >"$out/runs/$1.losses"
    [ "$(wc -l <"$out/runs/$1.losses")" = "$steps" ] || {
        echo "error: $1 has $(wc -l <"$out/runs/$1.losses") losses, not $steps"
        return 1
    }
}

# One process a card; the first that fails ends the others, as mpirun would.
train_together() { # RUN DTYPE
    local run=$1 dtype=$2 rank code=0 ended meeting processes=()
    prepare "$run" "$dtype"
    meeting=$(mktemp -d) || return
    for ((rank = 0; rank < cards; rank++)); do
        LOCKSTEP_RANK=$rank LOCKSTEP_RANKS=$cards LOCKSTEP_MEETING=$meeting/file \
            "$here/bin/lockstep-worker" "$out/runs/$run" --run-epoch 1 --device "$device" --progress lines &
        processes+=($!)
    done
    for ((rank = 0; rank < cards; rank++)); do
        ended=0
        wait -n || ended=$?
        if [ "$ended" != 0 ] && [ "$code" = 0 ]; then
            code=$ended
            sleep 3 # the others may have something to say
            kill -KILL "${processes[@]}" 2>/dev/null
        fi
    done
    rm -rf "$meeting"
    return "$code"
}

# All cards do what one did: the same draws, and losses that differ by the order of sums only.
together() {
    local dtype=float32
    train_together "together-$dtype" "$dtype" && losses_of "straight-$dtype" && losses_of "together-$dtype" || return
    grep -h -m1 -e gradient_sums "$out/train-cards.txt"
    grep -q 'gradient_sums by=nccl' "$out/train-cards.txt" || {
        echo "error: gradients did not go over NCCL: $(grep -m1 -e 'nccl used=no' -e 'gradient_sums asked' "$out/train-cards.txt")"
        return 1
    }
    paste -d ' ' "$out/runs/straight-$dtype.losses" "$out/runs/together-$dtype.losses" | awk -v cards="$cards" '
        { far = $2 > $4 ? ($2 - $4) / $2 : ($4 - $2) / $2; a += $2; b += $4 }
        NR == 1 { first = far }
        NR <= 20 && far > near { near = far }
        END {
            mean = a > b ? (a - b) / a : (b - a) / a
            bad = first > 1e-6 || near > 1e-5 || mean > 1e-2
            printf "%slosses of %d cards beside those of one: first step %.1e, to step 20 %.1e, mean %.1e\n", bad ? "error: " : "", cards, first, near, mean
            exit bad
        }'
}

# Stopped in the middle and taken up again: every loss is that of the run that went through.
resume() {
    local dtype=$1
    train "stopped-$dtype" "$dtype" 1 --stop-at $((steps / 2)) && train "stopped-$dtype" "$dtype" 2 || return
    losses_of "straight-$dtype" && losses_of "stopped-$dtype" || return
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
[ "$cards" -lt 2 ] || part train-cards together
# shellcheck disable=SC2086 # a list of options
part benchmark-step "$here/bin/bench_step" --device "$device" ${LOCKSTEP_BUNDLE_BENCH:-}
[ ! -e "$out/benchmark-step.txt" ] || cat "$out/benchmark-step.txt"
rm -rf "$out/runs"/*/checkpoints
if [ ${#failed[@]} -gt 0 ]; then
    echo "${#failed[@]} parts FAILED: ${failed[*]}; raw outputs are in $out"
    exit 1
fi
echo "everything passed; raw outputs are in $out"
