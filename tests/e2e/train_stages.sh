#!/bin/bash
# timeout: 240
# Up in resolution inside one run: a config with two stages (other crop, batch, micro-batches, schedule) ends with the
# weights, moments and step counts that the public way gives (a second config with is_anneal and anneal_ckpt), in one
# go, stopped on either side of the border and at it, with a worker killed, and fallen back over the border.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
lockstep=$BUILD/lockstep
need_program "$lockstep"
need_program "$BUILD/tools/motion_videos"
"$BUILD/tools/motion_videos" -o "$WORK/videos" --count 32 >"$WORK/log" 2>&1 || fail "$(tail -1 "$WORK/log")"
"$lockstep" pack "$WORK/videos/LIST.csv" -o "$WORK/dataset" >"$WORK/log" 2>&1 || fail "$(tail -1 "$WORK/log")"

cat configs/demo.yaml - >"$WORK/stages.yaml" <<'YAML'
stages:
- name: low
  optimization: {steps: 12, warmup_steps: 4}
- name: high
  tasks_per_node: 2
  data: {crop_size: 96, batch_size: 3}
  optimization: {steps: 8, warmup_steps: 0, is_anneal: true, lr: 5.0e-4, final_lr: 1.0e-6}
YAML

# train CODE RUN CONFIG WORKERS OPTION...: must end with CODE.
train() {
    local wanted=$1 run=$2 config=$3 workers=$4 code=0
    shift 4
    timeout -k 10 200 "$lockstep" train "$config" -n "$workers" --set "folder=$WORK/$run" \
        --set "data.datasets=[$WORK/dataset]" --set model.depth=2 --set meta.save_freq_steps=5 \
        --set lockstep.threads=1 "$@" >>"$WORK/$run.log" 2>&1 || code=$?
    [ "$code" = "$wanted" ] || fail "$run: exit code $code, not $wanted: $(tail -1 "$WORK/$run.log")"
}
# What the arrays hold, whatever the number of their step: hashes of all blocks, summed, and the updates had.
state_of() { # RUN
    python3 - "$WORK/$1/checkpoints/latest/manifest.json" <<'PY' || fail "$1: no manifest"
import json, sys
m = json.load(open(sys.argv[1]))
print("%032x" % (sum(int(s["digest"], 16) for s in m["shards"]) % (1 << 128)), [p["adam_step"] for p in m["parameters"]])
PY
}
same_state() { # RUN OTHER
    [ "$(state_of "$1")" = "$(state_of "$2")" ] || fail "$1 ends with another state than $2"
}
digest() {
    "$lockstep" inspect "$WORK/$1/checkpoints/latest" --json | sed -n 's/.*"digest":"\([0-9a-f]*\)".*/\1/p'
}

train 0 first configs/demo.yaml 2 --set optimization.steps=12 --set optimization.warmup_steps=4
train 0 public configs/demo.yaml 2 --set optimization.steps=8 --set optimization.warmup_steps=0 \
    --set tasks_per_node=2 --set data.crop_size=96 --set data.batch_size=3 --set optimization.is_anneal=true \
    --set optimization.lr=5e-4 --set optimization.final_lr=1e-6 --set optimization.resume_anneal=true \
    --set "optimization.anneal_ckpt=$WORK/first/checkpoints/latest"
train 0 staged "$WORK/stages.yaml" 2
same_state public staged
for step in 1 12 13 20; do
    [ "$(sed -n "${step}p" "$WORK/staged/metrics.jsonl" | grep -c "^{\"step\":$step,")" = 1 ] ||
        fail "staged: line $step of the metrics is not step $step"
done
[ "$(wc -l <"$WORK/staged/metrics.jsonl")" = 20 ] || fail "staged: $(wc -l <"$WORK/staged/metrics.jsonl") steps"
sed -n 20p "$WORK/staged/metrics.jsonl" | grep -q '"lr":1e-06[,}]\|"lr":1.0*e-06[,}]\|"lr":0.000001[,}]' ||
    fail "staged: the rate does not reach its end: $(sed -n '20s/.*\("lr":[^,]*\).*/\1/p' "$WORK/staged/metrics.jsonl")"
grep -q 'resolution height="64 -> 96" width="64 -> 96" frames=8 tokens_a_clip="256 -> 576" clips_a_step="8 -> 6"' \
    "$WORK/staged/log" || fail "staged: no line says what changes at the border"
[ "$(grep -c 'resolution ' "$WORK/public/log")" = 1 ] || fail "public: no line says what changes"
[ -e "$WORK/staged/checkpoints/step-000000012/keep" ] || fail "staged: the border's checkpoint is not kept"
[ -e "$WORK/staged/checkpoints/step-000000020/manifest.json" ] || fail "staged: steps do not count through"

# Stopped before the border, at it and after it; killed in the second stage; the first stage on 4 workers' worth of
# micro-batches, the second on 2.
train 75 stopped "$WORK/stages.yaml" 2 --stop-at 9
train 75 stopped "$WORK/stages.yaml" 2 --stop-at 12
train 75 stopped "$WORK/stages.yaml" 2 --stop-at 14
train 0 stopped "$WORK/stages.yaml" 2
[ "$(digest stopped)" = "$(digest staged)" ] || fail "stops change the end"
train 0 stopped "$WORK/stages.yaml" 2 # nothing left to do
train 0 wide "$WORK/stages.yaml" 4
grep -q 'workers_started .*workers=4' "$WORK/wide.log" || fail "wide: the first stage has not 4 workers"
grep -q 'workers_started .*workers=2' "$WORK/wide.log" || fail "wide: the second stage has not 2 workers"

# A worker dies in the fourth step of the second stage, which is the run's second start: all start again.
LS_FAULT=kill:step:4:1:2 train 0 killed "$WORK/stages.yaml" 2
grep -q 'workers_lost rank 1 .*signal 9' "$WORK/killed.log" || fail "killed: no worker was killed: $(tail -1 "$WORK/killed.log")"
[ "$(digest killed)" = "$(digest staged)" ] || fail "a killed worker changes the end"

# The newest checkpoint is lost, and the one before it is of the stage before: that stage goes on.
train 75 fallback "$WORK/stages.yaml" 2 --stop-at 13 --set meta.keep_last=3
for step in 13 12; do printf 'x' >"$WORK/fallback/checkpoints/step-0000000$step/manifest.json"; done
train 0 fallback "$WORK/stages.yaml" 2
[ "$(digest fallback)" = "$(digest staged)" ] || fail "falling back over the border changes the end"

# What does not fit is said before anything starts.
train 2 misfit "$WORK/stages.yaml" 2 --set 'stages[1].model.embed_dim=64'
grep -q 'stages\[1\]: model.embed_dim' "$WORK/misfit.log" || fail "misfit: $(tail -1 "$WORK/misfit.log")"
train 2 stopped "$WORK/stages.yaml" 2 --set 'stages[0].optimization.steps=15' --set 'stages[1].optimization.steps=9'
grep -q 'stages that are done must keep their steps' "$WORK/stopped.log" || fail "$(tail -1 "$WORK/stopped.log")"

# A checkpoint of the second stage is exported like any other.
"$lockstep" export "$WORK/staged" -o "$WORK/out" >"$WORK/log" 2>&1 || fail "export: $(tail -1 "$WORK/log")"
grep -q '"crop_size": 96' "$WORK/out/config.json" || fail "export: not the second stage's resolution"
pass "the public way's state; stopped, killed, fallen back over the border, 4 workers then 2"
