#!/bin/bash
# timeout: 400
# asan too
# Weights leave a run and come back: every exported tensor is the checkpoint's, export -> import -> export
# gives the same bytes in float32 and bfloat16, a run goes on from imported weights, and what does not fit is
# named, all of it.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
lockstep=$BUILD/lockstep
need_program "$lockstep"
need_program "$BUILD/tools/motion_videos"
/usr/bin/python3 -c 'import h5py, numpy' 2>/dev/null || skip "python3-h5py is not installed"
tool() { /usr/bin/python3 tests/e2e/safetensors_tool.py "$@" 2>"$WORK/tool" || fail "$1: $(tail -1 "$WORK/tool")"; }

"$BUILD/tools/motion_videos" -o "$WORK/videos" --count 8 >"$WORK/log" 2>&1 || fail "$(tail -1 "$WORK/log")"
"$lockstep" pack "$WORK/videos/LIST.csv" -o "$WORK/dataset" >"$WORK/log" 2>&1 || fail "$(tail -1 "$WORK/log")"
small=(--set "data.datasets=[$WORK/dataset]" --set model.embed_dim=132 --set model.num_heads=2 --set model.depth=2
    --set model.mlp_ratio=4.363636363636363 --set model.pred_depth=1 --set optimization.warmup_steps=1
    --set lockstep.threads=1)

# run CODE COMMAND...: must end with CODE.
run() {
    local wanted=$1 code=0
    shift
    timeout -k 10 200 "$@" >"$WORK/log" 2>&1 || code=$?
    [ "$code" = "$wanted" ] || fail "exit code $code, not $wanted: $*: $(tail -1 "$WORK/log")"
}
train() { # RUN STEPS OPTION...
    local run=$1 steps=$2
    shift 2
    run 0 "$lockstep" train configs/demo.yaml -n 2 "${small[@]}" --set "folder=$WORK/$run" \
        --set "optimization.steps=$steps" "$@"
}
import() { # CODE DIR RUN OPTION...
    local code=$1 dir=$2 name=$3
    shift 3
    run "$code" "$lockstep" import "$dir" configs/demo.yaml "${small[@]}" --set "folder=$WORK/$name" \
        --set optimization.steps=3 "$@"
}
export_to() { run 0 "$lockstep" export "$WORK/$1" -o "$WORK/$2" "${@:3}"; } # RUN DIR OPTION...

train first 3
export_to first target
export_to first online --which online
tool check "$WORK/target" "$WORK/first/checkpoints/latest" target
tool check "$WORK/online" "$WORK/first/checkpoints/latest" online
[ "$(wc -c <"$WORK/target/model.safetensors")" = "$(wc -c <"$WORK/online/model.safetensors")" ] || fail "sizes differ"
run 2 "$lockstep" export "$WORK/first" -o "$WORK/target"

import 0 "$WORK/target" second
export_to second again
diff -r "$WORK/target" "$WORK/again" >"$WORK/diff" || fail "export, import, export: $(head -1 "$WORK/diff")"
export_to first half --dtype bfloat16
import 0 "$WORK/half" third
export_to third half_again --dtype bfloat16
diff -r "$WORK/half" "$WORK/half_again" >"$WORK/diff" || fail "bfloat16: $(head -1 "$WORK/diff")"

# A run goes on from there, with its own steps and an optimizer that begins anew.
train second 3
[ "$(wc -l <"$WORK/second/metrics.jsonl")" = 3 ] || fail "the imported run did not train from step 1 to 3"
grep -q 'resume imported=yes' "$WORK/second/log" || fail "the run did not begin with the imported weights"
import 2 "$WORK/target" second

# A cool-down begins with imported weights.
train cooled 2 --set optimization.is_anneal=true --set optimization.warmup_steps=0 \
    --set "optimization.anneal_ckpt=$WORK/third/checkpoints/latest"
grep -q 'anneal from=.*its_step=0' "$WORK/cooled/log" || fail "the cool-down did not take the imported weights"

# The public code's names, with a target of its own.
mkdir "$WORK/public"
tool public "$WORK/first/checkpoints/latest" "$WORK/public/model.safetensors"
import 0 "$WORK/public" fourth
tool same "$WORK/first/checkpoints/latest" "$WORK/fourth/checkpoints/latest"

# All that does not fit is named.
import 11 "$WORK/target" misfit --set model.depth=3 --set model.pred_embed_dim=32 --set data.patch_size=16
for what in 'no tensor encoder.layer.2.norm1.bias' 'predictor.layernorm.weight is \[64\]' 'patch_size is 8' \
    'num_hidden_layers is 2' 'tensor encoder.embeddings.patch_embeddings.proj.weight is'; do
    grep -q "$what" "$WORK/log" || fail "misfit does not say: $what"
done
[ ! -e "$WORK/misfit/checkpoints" ] || fail "a misfit left a checkpoint"
fpcs='data.dataset_fpcs=[8, 8]' sets="data.datasets=[$WORK/dataset, $WORK/dataset]"
import 11 "$WORK/target" tokens --set "$fpcs" --set "$sets"
grep -q 'pred_num_mask_tokens is 2' "$WORK/log" || fail "mask tokens: $(tail -1 "$WORK/log")"
import 0 "$WORK/target" tokens --set "$fpcs" --set "$sets" --mask-token 0

mkdir "$WORK/split" && touch "$WORK/split/model.safetensors.index.json"
import 11 "$WORK/split" fifth
grep -q 'split over several files' "$WORK/log" || fail "split: $(tail -1 "$WORK/log")"

# What a folder is, and a byte that changed on its way.
run 0 "$lockstep" verify "$WORK/target"
run 0 "$lockstep" inspect "$WORK/half" --json
grep -q '"kind":"export".*"tensors":.*"dtype":"bfloat16".*"encoder":"target"' "$WORK/log" || fail "inspect: $(cat "$WORK/log")"
run 1 "$lockstep" verify "$WORK/public" # there is no checksum
cp -r "$WORK/target" "$WORK/damaged"
printf 'x' | dd of="$WORK/damaged/model.safetensors" bs=1 seek=200000 conv=notrunc 2>/dev/null
run 1 "$lockstep" verify "$WORK/damaged"
import 11 "$WORK/damaged" fifth
grep -q 'not the file that lockstep.json describes' "$WORK/log" || fail "damage: $(tail -1 "$WORK/log")"
run 2 "$lockstep" export "$WORK/first"
pass "float32 and bfloat16, target and online, public names"
