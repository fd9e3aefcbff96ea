#!/usr/bin/env bash
# timeout: 600
# The CUDA sources, compiled for the CPU under ASan + UBSan: the emulator catches what it is there for, the golden files
# hold in both dtypes, and two ranks train to the CPU's losses and resume to the same bits.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
lockstep=$BUILD/lockstep
for program in "$lockstep" "$BUILD/tools/motion_videos"; do need_program "$program"; done
[ -e "${CUDA_HOME:-/usr/local/cuda}/include/cublasLt.h" ] || skip "no CUDA headers"

emulated=$BUILD/emulated
# shellcheck disable=SC2086 # MAKE is a command with arguments
${MAKE:-make -j2} -s BUILD="$BUILD" VARIANT=emulated "$emulated/golden" "$emulated/lockstep-worker" \
    "$emulated/tests/test_emulator" >"$WORK/build" 2>&1 || fail "does not build: $(grep -m1 error "$WORK/build")"

"$emulated/tests/test_emulator" >"$WORK/log" 2>&1 || fail "the emulator misses a fault: $(grep -m1 FAILED "$WORK/log")"
EMULATOR_ORDER=reverse "$emulated/golden" tests/golden/pretrain_a.h5 --device emulated >"$WORK/log" 2>&1 ||
    fail "golden file, float32: $(grep -m1 -e MISS -e ERROR "$WORK/log")"
said=$(sed -n 's/.*worst error.bound \([0-9.]*\).*/\1/p' "$WORK/log")
EMULATOR_ORDER=shuffle:3 "$emulated/golden" tests/golden/pretrain_a.h5 --device emulated --dtype bfloat16 >"$WORK/log" 2>&1 ||
    fail "golden file, bfloat16: $(grep -m1 -e MISS -e ERROR "$WORK/log")"

"$BUILD/tools/motion_videos" -o "$WORK/videos" --count 8 >"$WORK/log" 2>&1 || fail "no videos: $(tail -1 "$WORK/log")"
"$lockstep" pack "$WORK/videos" -o "$WORK/dataset" >"$WORK/log" 2>&1 || fail "no dataset: $(tail -1 "$WORK/log")"

# train RUN DEVICE [OPTION...]: 4 steps of a tiny model on two ranks; what it printed is in RUN.log.
train() {
    local run=$1 device=$2 code=0
    shift 2
    LOCKSTEP_WORKER=$(realpath "$emulated/lockstep-worker") timeout -k 5 200 "$lockstep" train configs/demo.yaml -n 2 \
        --device "$device" --set "folder=$WORK/$run" --set "data.datasets=[$WORK/dataset]" --set tasks_per_node=2 \
        --set data.batch_size=1 --set data.crop_size=32 --set model.embed_dim=32 --set model.num_heads=2 --set model.depth=2 \
        --set model.pred_embed_dim=32 --set model.pred_num_heads=2 --set model.pred_depth=1 --set lockstep.threads=1 \
        --set optimization.steps=4 --set optimization.warmup_steps=2 --set meta.save_freq_steps=100 "$@" \
        >>"$WORK/$run.log" 2>&1 || code=$?
    return "$code"
}
digest() { "$lockstep" inspect "$WORK/$1/checkpoints/latest" --json | sed 's/.*"digest":"\([0-9a-f]*\)".*/\1/'; }

train cpu cpu || fail "on the CPU: $(tail -1 "$WORK/cpu.log")"
train card emulated || fail "on the card: $(tail -1 "$WORK/card.log")"
/usr/bin/python3 - "$WORK" >"$WORK/log" 2>&1 <<'X' || fail "$(tail -1 "$WORK/log")"
import json, sys
cpu, card = ([json.loads(l) for l in open(f"{sys.argv[1]}/{run}/metrics.jsonl")] for run in ("cpu", "card"))
assert len(cpu) == len(card) == 4, (len(cpu), len(card))
for a, b in zip(cpu, card):
    off = abs(a["loss"] - b["loss"]) / a["loss"]
    assert a["draw_hash"] == b["draw_hash"], f"step {a['step']}: other draws"
    assert off <= (1e-6 if a["step"] == 1 else 1e-5), f"step {a['step']}: losses differ by {off:.2g}"
X
code=0
train again emulated --stop-at 2 || code=$?
[ "$code" = 75 ] || fail "stop: exit code $code: $(tail -1 "$WORK/again.log")"
train again emulated || fail "resume: $(tail -1 "$WORK/again.log")"
[ "$(digest card)" = "$(digest again)" ] || fail "stop and resume on the card change the result"

code=0
train none cuda || code=$?
[ "$code" = 12 ] || fail "--device cuda without a card: exit code $code"
pass "golden worst error/bound $said; 2 ranks train to the CPU's losses and resume to the same bits"
