#!/usr/bin/env bash
# timeout: 900
# emulated too
# The CUDA sources, compiled for the CPU under ASan + UBSan: the golden files hold in both dtypes, in other orders of
# threads; two ranks train to the CPU's losses and resume to the same bits; a checkpoint goes from one device to the
# other; without a card `--device cuda` is refused.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
lockstep=$BUILD/lockstep
emulated=$BUILD/emulated
for program in "$lockstep" "$BUILD/tools/motion_videos"; do need_program "$program"; done
[ -e "${CUDA_HOME:-/usr/local/cuda}/include/cublasLt.h" ] || skip "no CUDA headers"
for program in "$emulated/golden" "$emulated/lockstep-worker"; do need_program "$program"; done

# golden DTYPE ORDER: all golden files, each in a process of its own.
golden() {
    local name folder
    for name in pretrain_a pretrain_b pretrain_c; do
        for folder in tests/golden "$SHARED/golden"; do
            [ -e "$folder/$name.h5" ] || continue
            EMULATOR_ORDER=$2 "$emulated/golden" "$folder/$name.h5" --quiet --device emulated --dtype "$1" \
                >"$WORK/log" 2>"$WORK/errors" || fail "$name, $1: $(grep -h -m1 -e MISS -e ERROR "$WORK/log" "$WORK/errors")"
            sed "s/^/  $1  /" "$WORK/log"
            break
        done
    done
}
golden float32 reverse
golden bfloat16 shuffle:3

"$BUILD/tools/motion_videos" -o "$WORK/videos" --count 8 >"$WORK/log" 2>&1 || fail "no videos: $(tail -1 "$WORK/log")"
"$lockstep" pack "$WORK/videos" -o "$WORK/dataset" >"$WORK/log" 2>&1 || fail "no dataset: $(tail -1 "$WORK/log")"

# train CODE RUN DEVICE [OPTION...]: 50 steps of a tiny model on two ranks, which must end with CODE.
train() {
    local wanted=$1 run=$2 device=$3 code=0
    shift 3
    LOCKSTEP_WORKER=$(realpath "$emulated/lockstep-worker") timeout -k 5 300 "$lockstep" train configs/demo.yaml -n 2 \
        --device "$device" --set "folder=$WORK/$run" --set "data.datasets=[$WORK/dataset]" --set tasks_per_node=2 \
        --set data.batch_size=1 --set data.crop_size=32 --set model.embed_dim=32 --set model.num_heads=2 \
        --set model.depth=2 --set model.pred_embed_dim=32 --set model.pred_num_heads=2 --set model.pred_depth=1 \
        --set lockstep.threads=1 --set optimization.steps=50 --set optimization.warmup_steps=10 \
        --set meta.save_freq_steps=100 --set meta.eval_freq=20 "$@" >>"$WORK/$run.log" 2>&1 || code=$?
    [ "$code" = "$wanted" ] || fail "$run on $device: exit code $code, not $wanted: $(tail -1 "$WORK/$run.log")"
}
digest() { "$lockstep" inspect "$WORK/$1/checkpoints/latest" --json | sed 's/.*"digest":"\([0-9a-f]*\)".*/\1/'; }

train 0 cpu cpu
train 0 card emulated
train 75 again emulated --stop-at 20
cp -r "$WORK/again" "$WORK/card_to_cpu"
train 0 again emulated
[ "$(digest card)" = "$(digest again)" ] || fail "stop and resume on the card change the result"
train 0 card_to_cpu cpu
train 75 cpu_to_card cpu --stop-at 20
train 0 cpu_to_card emulated

# Losses against the CPU's: 1e-6 in the first step, 1e-5 up to step 20, 1 % in the mean later.
/usr/bin/python3 - "$WORK" card card_to_cpu cpu_to_card >"$WORK/losses" 2>&1 <<'X' || fail "$(tail -1 "$WORK/losses")"
import json, sys
def read(run):
    return [json.loads(line) for line in open(f"{sys.argv[1]}/{run}/metrics.jsonl")]
cpu = read("cpu")
for name in sys.argv[2:]:
    run = read(name)
    assert [step["step"] for step in run] == list(range(1, 51)), f"{name}: steps {[step['step'] for step in run]}"
    assert [step["draw_hash"] for step in run] == [step["draw_hash"] for step in cpu], f"{name}: other draws"
    far = [abs(a["loss"] - b["loss"]) / b["loss"] for a, b in zip(run, cpu)]
    mean = abs(sum(a["loss"] for a in run[20:]) / sum(b["loss"] for b in cpu[20:]) - 1)
    print(f"{name}: first {far[0]:.1e}, to step 20 {max(far[:20]):.1e}, mean later {mean:.1e}")
    assert far[0] <= 1e-6 and max(far[:20]) <= 1e-5 and mean <= 1e-2, f"{name}: losses are beyond their bounds: {far}"
X
sed 's/^/  /' "$WORK/losses"

train 12 none cuda
pass "golden files; 2 ranks train to the CPU's losses, resume to the same bits, go on on the other device"
