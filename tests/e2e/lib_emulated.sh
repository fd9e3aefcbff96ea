# Shell helpers of the tests on the emulated card; sourced after lib.sh.
# shellcheck shell=bash disable=SC2153,SC2154
lockstep=$BUILD/lockstep
emulated=$BUILD/emulated
card=emulated
if [ "$DEVICE" = cuda ]; then # the same on a real one
    emulated=$BUILD
    card=cuda
fi

# need_emulated: the emulated worker (tests/run.sh builds it), and a small dataset.
need_emulated() {
    local program
    for program in "$lockstep" "$BUILD/lockstep-worker" "$BUILD/tools/motion_videos"; do need_program "$program"; done
    [ -e "${CUDA_HOME:-/usr/local/cuda}/include/cublasLt.h" ] || skip "no CUDA headers"
    need_program "$emulated/lockstep-worker"
    export EMULATOR_NCCL_FOLDER=$WORK
    "$BUILD/tools/motion_videos" -o "$WORK/videos" --count 8 >"$WORK/log" 2>&1 || fail "no videos: $(tail -1 "$WORK/log")"
    "$lockstep" pack "$WORK/videos" -o "$WORK/dataset" >"$WORK/log" 2>&1 || fail "no dataset: $(tail -1 "$WORK/log")"
}

ranks=2
# train RUN DEVICE [OPTION...]: 4 steps of a tiny model on $ranks ranks; what it printed is in RUN.log.  The CPU's are of
# the usual worker: the emulated one is for cards, and its sanitizers cost seconds a start.
train() {
    local run=$1 device=$2 code=0 worker=$emulated/lockstep-worker
    shift 2
    [ "$device" != cpu ] || worker=$BUILD/lockstep-worker
    LOCKSTEP_WORKER=$(realpath "$worker") timeout -k 5 300 "$lockstep" train configs/demo.yaml -n "$ranks" \
        --device "$device" --set "folder=$WORK/$run" --set "data.datasets=[$WORK/dataset]" --set tasks_per_node=2 \
        --set data.batch_size=1 --set data.crop_size=32 --set model.embed_dim=32 --set model.num_heads=2 --set model.depth=2 \
        --set model.pred_embed_dim=32 --set model.pred_num_heads=2 --set model.pred_depth=1 --set lockstep.threads=1 \
        --set optimization.steps=4 --set optimization.warmup_steps=2 --set meta.save_freq_steps=100 "$@" \
        >>"$WORK/$run.log" 2>&1 || code=$?
    return "$code"
}

# ends RUN CODE OPTION...: a run on the card that ends with CODE.
ends() {
    local run=$1 wanted=$2 code=0
    shift 2
    train "$run" "$card" "$@" || code=$?
    [ "$code" = "$wanted" ] || fail "$run: exit code $code, not $wanted: $(tail -1 "$WORK/$run.log")"
}
digest() { "$lockstep" inspect "$WORK/$1/checkpoints/latest" --json | sed 's/.*"digest":"\([0-9a-f]*\)".*/\1/'; }

# same_losses RUN RUN: the same draws; losses within 1e-6 in the first step, 1e-5 to step 20, 1 % in the mean later.
same_losses() {
    /usr/bin/python3 - "$WORK" "$@" >"$WORK/losses" 2>&1 <<'X' || fail "$1 and $2: $(tail -1 "$WORK/losses")"
import json, sys
folder, first, second = sys.argv[1:]
a, b = ([json.loads(l) for l in open(f"{folder}/{run}/metrics.jsonl")] for run in (first, second))
assert [s["step"] for s in a] == [s["step"] for s in b] and len(a) >= 4, (len(a), len(b))
assert [s["draw_hash"] for s in a] == [s["draw_hash"] for s in b], "other draws"
far = [abs(x["loss"] - y["loss"]) / x["loss"] for x, y in zip(a, b)]
later = [sum(s["loss"] for s in run[20:]) for run in (a, b)]
mean = abs(later[0] - later[1]) / later[0] if len(a) > 20 else 0.0
print(f"{first} and {second}: first {far[0]:.1e}, to step 20 {max(far[:20]):.1e}, mean later {mean:.1e}")
assert far[0] <= 1e-6 and max(far[:20]) <= 1e-5 and mean <= 1e-2, f"losses are beyond their bounds: {far}"
X
    sed 's/^/  /' "$WORK/losses"
}
