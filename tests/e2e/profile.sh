#!/usr/bin/env bash
# `lockstep train --profile FIRST:LAST`: each rank's trace of these steps, parts within their step; nonsense is refused.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
lockstep=$BUILD/lockstep
for program in "$lockstep" "$WORKER" "$BUILD/tools/motion_videos"; do need_program "$program"; done
"$BUILD/tools/motion_videos" -o "$WORK/videos" --count 8 >"$WORK/log" 2>&1 || fail "no videos: $(tail -1 "$WORK/log")"
"$lockstep" pack "$WORK/videos" -o "$WORK/dataset" >"$WORK/log" 2>&1 || fail "no dataset: $(tail -1 "$WORK/log")"

# train RUN CODE OPTION...: 5 steps on two ranks that end with CODE.
train() {
    local run=$1 wanted=$2 code=0
    shift 2
    timeout -k 5 200 "$lockstep" train configs/demo.yaml -n 2 "${device_options[@]}" --set "folder=$WORK/$run" \
        --set "data.datasets=[$WORK/dataset]" --set tasks_per_node=2 --set data.batch_size=1 --set data.crop_size=32 \
        --set model.embed_dim=32 --set model.num_heads=2 --set model.depth=2 --set model.pred_embed_dim=32 \
        --set model.pred_num_heads=2 --set model.pred_depth=1 --set lockstep.threads=1 --set optimization.steps=5 \
        --set optimization.warmup_steps=2 --set meta.save_freq_steps=100 "$@" >"$WORK/$run.log" 2>&1 || code=$?
    [ "$code" = "$wanted" ] || fail "$run: exit code $code, not $wanted: $(tail -1 "$WORK/$run.log")"
}

train run 0 --profile 3:4
/usr/bin/python3 - "$WORK/run/profile" >"$WORK/checked" 2>&1 <<'P' || fail "trace: $(tail -1 "$WORK/checked")"
import json, sys
for rank in (0, 1):
    events = json.load(open(f"{sys.argv[1]}/steps-3-4-{rank}.json"))["traceEvents"]
    done = [e for e in events if e["ph"] == "X"]
    assert all(e["pid"] == rank and e["dur"] >= 0 for e in done)
    steps = [e for e in done if e["name"] == "step"]
    assert len(steps) == 2, f"rank {rank}: {len(steps)} steps"
    for part in ("data", "compute", "target", "context", "predictor", "loss", "predictor backward",
                 "context backward", "decide", "reduce", "update"):
        own = [e for e in done if e["name"] == part]
        assert len(own) == 2, f"rank {rank}: {len(own)} of {part}"
        for step, e in zip(steps, own):
            assert step["ts"] <= e["ts"] + .01 and e["ts"] + e["dur"] <= step["ts"] + step["dur"] + .01, (rank, part)
    names = [e["args"]["name"] for e in events if e["ph"] == "M"]
    assert f"rank {rank}" in names and "sums over ranks" in names, names
P
grep -q 'profile written=' "$WORK/run.log" || fail "nothing tells where the trace is"

# A window that the run ends in, and one that it never comes to.
train short 75 --profile 2:100 --stop-at 3
[ -e "$WORK/short/profile/steps-2-3-1.json" ] || fail "a run that ends within the steps leaves no trace"
train late 0 --profile 50:60
grep -q 'profile asked=50:60 used=none' "$WORK/late.log" || fail "steps that were not done: nothing is said"
train wrong 2 --profile 4:3
grep -q "profile: '4:3' is not FIRST:LAST" "$WORK/wrong.log" || fail "4:3 is taken: $(tail -1 "$WORK/wrong.log")"
pass "two ranks, steps 3 and 4"
