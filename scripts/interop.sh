#!/usr/bin/env bash
# Compares with Hugging Face transformers: `make test-interop`.  Not part of `make test`: it installs torch.
#
#   scripts/interop.sh     needs build/lockstep, build/lockstep-worker and build/tools/interop_features
#
# Random models of every shape family, saved by transformers, are imported, exported again (the same bytes) and
# compared by the features that both sides make of three real clips; likewise a model that was trained here; and
# a checkpoint as the public code writes it comes in by the lines of docs/operations.md.
# The virtual environment (about 6 GB) stays in BUILD/interop; the result goes to benchmarks/results/interop.md.
set -euo pipefail
cd "$(dirname "$0")/.."
BUILD=${BUILD:-build}
SHARED=${SHARED:-../shared}
mkdir -p "$BUILD"
result=benchmarks/results/interop.md
work=$(mktemp -d "${TMPDIR:-/tmp}/lockstep-interop.XXXXXX")
trap 'rm -rf "$work"' EXIT

clips=(kinetics_a.mp4 bear_vp9.webm ucf_archery.avi)
[ -d "$SHARED/videos/clean" ] || { echo "interop: skipped: $SHARED/videos/clean is not there"; exit 77; }
python=$(scripts/interop_python.sh)
export HF_HUB_OFFLINE=1 TRANSFORMERS_VERBOSITY=error OMP_WAIT_POLICY=passive
quiet() { "$@" >"$work/log" 2>&1 || { tail -n 5 "$work/log"; echo "interop: FAILED: $*"; exit 1; }; }
interop() { "$python" tests/interop/interop.py "$@"; }

# features NAME RUN MASK_TOKEN CROP FRAMES: ours, of the three clips, beside the frames that they are made of.
features() {
    local clip out
    for clip in "${clips[@]}"; do
        out=$work/$1-${clip%.*}
        quiet ffmpeg -nostdin -v error -i "$SHARED/videos/clean/$clip" -frames:v "$5" -pix_fmt rgb24 -f rawvideo \
            -vf "scale=$4:$4:force_original_aspect_ratio=increase,crop=$4:$4" "$out.rgb"
        quiet "$BUILD/tools/interop_features" "$work/$2/checkpoints/latest" "$out.rgb" "$out" "$3"
    done
}

families=(l_head64 h_head80 g_ratio48_11 tiny_whole_predictor demo_patch8)
quiet interop models "$work" "${families[@]}"
for family in "${families[@]}"; do
    mapfile -t options < <(interop options "$family")
    quiet "$BUILD/lockstep" import "$work/$family.hf" configs/demo.yaml "${options[@]}" --set "folder=$work/$family"
    quiet "$BUILD/lockstep" export "$work/$family" -o "$work/$family.target"
    quiet "$BUILD/lockstep" export "$work/$family" -o "$work/$family.online" --which online
    quiet cmp "$work/$family.hf/model.safetensors" "$work/$family.target/model.safetensors"
    crop=$(printf '%s\n' "${options[@]}" | sed -n 's/^data.crop_size=//p')
    frames=$(printf '%s\n' "${options[@]}" | sed -n 's/^data.dataset_fpcs=\[\(.*\)\]/\1/p')
    features "$family" "$family" 1 "$crop" "$frames"
done

# Trained here: transformers' default token 1 must give what the trained token 0 does.
quiet "$BUILD/tools/motion_videos" -o "$work/videos" --count 8
quiet "$BUILD/lockstep" pack "$work/videos/LIST.csv" -o "$work/dataset"
quiet "$BUILD/lockstep" train configs/demo.yaml -n 2 --set "data.datasets=[$work/dataset]" \
    --set "folder=$work/trained" --set optimization.steps=20 --set optimization.warmup_steps=2
quiet "$BUILD/lockstep" export "$work/trained" -o "$work/trained.target"
quiet "$BUILD/lockstep" export "$work/trained" -o "$work/trained.online" --which online
features trained trained 0 64 8

# The public code's checkpoint, through the lines that the manual gives.
mkdir "$work/public" "$work/DIR"
tool=tests/e2e/safetensors_tool.py
quiet /usr/bin/python3 "$tool" public "$work/trained/checkpoints/latest" "$work/public/model.safetensors"
quiet interop pt "$work" "$work/public"
sed -n '/^<!-- from a .pt file -->$/,/^```$/p' docs/operations.md | sed '1,2d;$d' >"$work/lines.py"
[ "$(wc -l <"$work/lines.py")" = 2 ] || { echo "interop: FAILED: docs/operations.md has not the two lines"; exit 1; }
(cd "$work" && "$python" lines.py) || { echo "interop: FAILED: the two lines of docs/operations.md"; exit 1; }
quiet "$BUILD/lockstep" import "$work/DIR" configs/demo.yaml --set "folder=$work/from_pt"
quiet /usr/bin/python3 "$tool" same "$work/trained/checkpoints/latest" "$work/from_pt/checkpoints/latest"

{
    echo "# Against Hugging Face transformers"
    echo
    echo "\`make test-interop\`, $(date -u +%Y-%m-%d), commit $(git describe --always --dirty 2>/dev/null || echo unknown)," \
        "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1). Largest absolute difference of a feature in float32;"
    echo "random weights (biases and gains too), exported by lockstep after transformers had saved them: the same bytes."
    echo "\`trained\` was trained here. A checkpoint of the public code's form came in bit for bit."
    echo
} >"$work/result.md"
code=0
interop compare "$work" "${families[@]}" trained >>"$work/result.md" 2>"$work/log" || code=$?
sed -i 's/^\(torch .*\)$/\1\n/; s/^\(worst .*\)$/\n\1/' "$work/result.md"
cat "$work/result.md"
[ "$code" = 0 ] || { tail -n 3 "$work/log"; echo "interop: FAILED"; exit 1; }
mkdir -p "$(dirname "$result")"
cp "$work/result.md" "$result"
echo "interop: ok"
