#!/bin/bash
# timeout: 400
# emulated too
# The public way up in resolution: a second config takes weights, moments and step counts of a first
# run's checkpoint, at more pixels, with its own schedule from step 1; stopped and taken up again it
# ends with the same bits.  `read_checkpoint` goes on with a run in another folder.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
lockstep=$BUILD/lockstep
need_program "$lockstep"
need_program "$BUILD/tools/motion_videos"
"$BUILD/tools/motion_videos" -o "$WORK/videos" --count 32 >"$WORK/log" 2>&1 || fail "$(tail -1 "$WORK/log")"
"$lockstep" pack "$WORK/videos/LIST.csv" -o "$WORK/dataset" >"$WORK/log" 2>&1 || fail "$(tail -1 "$WORK/log")"

# The emulated card takes seconds for a step of the demo's model.
limit_s=200
pixels=64
larger=96
small=()
if [ "$DEVICE" = emulated ]; then
    limit_s=300
    pixels=32
    larger=48
    small=(--set model.embed_dim=32 --set model.num_heads=2 --set model.pred_embed_dim=32 --set data.batch_size=1)
fi

# train CODE RUN OPTION...: must end with CODE.
train() {
    local wanted=$1 run=$2 code=0
    shift 2
    timeout -k 10 "$limit_s" "$lockstep" train configs/demo.yaml -n 2 "${device_options[@]}" --set "folder=$WORK/$run" \
        --set "data.datasets=[$WORK/dataset]" --set model.depth=2 --set "optimization.warmup_steps=${WARMUP:-4}" \
        --set meta.save_freq_steps=10 --set lockstep.threads=1 "${small[@]}" "$@" >>"$WORK/$run.log" 2>&1 || code=$?
    [ "$code" = "$wanted" ] || fail "$run: exit code $code, not $wanted: $(tail -1 "$WORK/$run.log")"
}
digest() {
    "$lockstep" inspect "$WORK/$1/checkpoints/latest" --json | sed -n 's/.*"digest": *"\([0-9a-f]*\)".*/\1/p'
}
value() { # RUN STEP KEY
    sed -n "s/^{\"step\":$2,.*\"$3\":\([^,}]*\).*/\1/p" "$WORK/$1/metrics.jsonl"
}
near() { # A B SHARE: |A - B| <= SHARE * B
    awk -v a="$1" -v b="$2" -v s="$3" 'BEGIN { d = a - b; if (d < 0) d = -d; exit !(a != "" && b != "" && d <= s * b) }'
}

train 0 first --set optimization.steps=40 --set "data.crop_size=$pixels"

WARMUP=0
cool=(--set optimization.steps=12 --set "data.crop_size=$larger" --set optimization.is_anneal=true
    --set optimization.lr=5e-4 --set optimization.final_lr=1e-6
    --set "optimization.anneal_ckpt=$WORK/first/checkpoints/latest")
train 0 cooled "${cool[@]}"
grep -q 'anneal from=.*its_step=40' "$WORK/cooled.log" || fail "cooled: did not take the first run's checkpoint"
[ "$(wc -l <"$WORK/cooled/metrics.jsonl")" = 12 ] || fail "cooled: $(wc -l <"$WORK/cooled/metrics.jsonl") steps"
near "$(value cooled 12 lr)" 1e-6 0.001 || fail "cooled: the learning rate ends at $(value cooled 12 lr), not at 1e-6"
near "$(value cooled 1 loss)" "$(value first 40 loss)" 0.1 ||
    fail "cooled: starts at loss $(value cooled 1 loss), the first run ended at $(value first 40 loss)"
"$lockstep" inspect "$WORK/cooled/checkpoints/latest" --json >"$WORK/json"
grep -q '"name":"encoder.patch_embed.proj.weight"[^}]*"adam_step":52[,}]' "$WORK/json" ||
    fail "cooled: Adam's step counts do not go on: $(grep -o 'patch_embed.proj.weight[^}]*' "$WORK/json")"

train 75 cooled_twice "${cool[@]}" --stop-at 5
train 0 cooled_twice "${cool[@]}"
[ "$(digest cooled)" = "$(digest cooled_twice)" ] || fail "a stop in the cool-down changes its end"

WARMUP=4
train 0 longer --set optimization.steps=44 --set "data.crop_size=$pixels" --set "meta.read_checkpoint=$WORK/first/checkpoints/latest"
[ "$(head -1 "$WORK/longer/metrics.jsonl" | grep -c '^{"step":41,')" = 1 ] ||
    fail "longer: does not go on at step 41: $(head -1 "$WORK/longer/metrics.jsonl" | cut -c1-60)"

# A checkpoint of another model is refused by name.
train 15 misfit --set optimization.steps=44 --set model.embed_dim=64 \
    --set "meta.read_checkpoint=$WORK/first/checkpoints/latest" --set lockstep.max_restarts=0
grep -q '^lockstep: .*parameter encoder.[^ ]* has another shape' "$WORK/misfit.log" ||
    fail "misfit: $(tail -1 "$WORK/misfit.log")"
pass "$DEVICE: cool-down at $larger pixels, stopped and resumed; read_checkpoint"
