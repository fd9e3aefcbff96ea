#!/usr/bin/env bash
# `make demo`: a first run, start to end, each step one command that is shown before it runs.
#
#   scripts/demo.sh            draws labelled motion videos and trains on them
#   scripts/demo.sh VIDEOS     trains on the videos of that folder
#
# BUILD names the build folder; everything made here lies in BUILD/demo.  STEPS overrides the length of the run.
# What it checks, and claims: the loss ends below its value at step 50, the features keep their spread (target_std)
# and their dimensions (target_rank), and stopping and resuming changes nothing.  A falling loss is no proof of
# good features: a probe of the drawn videos shows what was learnt beside an encoder that was never trained.  What it
# says of other seeds was measured by `make bench-learning` at the length of configs/demo.yaml.
set -euo pipefail
cd "$(dirname "$0")/.."

BUILD=${BUILD:-build}
VIDEOS=${1:-}
WORKERS=2
demo=$BUILD/demo
lockstep=$BUILD/lockstep
begin=$SECONDS

if [ -z "$VIDEOS" ]; then
    config=configs/demo.yaml
    dataset=$demo/dataset
    run=$demo/run
    source=$demo/videos/LIST.csv
else
    config=configs/demo-videos.yaml
    dataset=$demo/videos-dataset
    run=$demo/videos-run
    source=$VIDEOS
    [ -d "$VIDEOS" ] || {
        echo "demo: VIDEOS=$VIDEOS is no folder" >&2
        exit 2
    }
fi
side=$demo/resume-check

say() { printf '\n== %s\n' "$*"; }
show() { # a command line as one would type it
    printf '$'
    printf ' %s' "$@"
    printf '\n'
}
run() {
    show "$@"
    "$@"
}
fail() {
    printf 'demo: %s\n' "$*" >&2
    exit 1
}

steps_done() { # RUN: finished steps, from the metrics
    if [ -e "$1/metrics.jsonl" ]; then wc -l <"$1/metrics.jsonl"; else echo 0; fi
}

# interrupted STEP RUN COMMAND...: run the command and end it by SIGTERM once STEP steps are done, as SLURM ends a job.
# It must say "stopped on request" by its exit code.
interrupted() {
    local step=$1 folder=$2 pid status=0
    shift 2
    show "$@" "&"
    "$@" &
    pid=$!
    while kill -0 "$pid" 2>/dev/null && [ "$(steps_done "$folder")" -lt "$step" ]; do sleep 0.05; done
    show kill -TERM "$pid" "       # after step $step"
    kill -TERM "$pid" 2>/dev/null || true
    wait "$pid" || status=$?
    [ "$status" = 75 ] || fail "the stopped run ended with exit code $status, not 75"
}

digest() { # RUN: hash of weights, moments, EMA and step of its newest checkpoint
    "$lockstep" inspect "$1/checkpoints/latest" --json | grep -o '"digest":"[0-9a-f]*"' | head -n 1 | cut -d '"' -f 4
}

mkdir -p "$demo"
rm -rf "$run" "$side"-whole "$side"-stopped # earlier demos; the videos and the dataset are kept

if [ -z "$VIDEOS" ]; then
    say "Videos: 5120 clips of a cloud that drifts in one of 8 directions under flicker"
    run "$BUILD/tools/motion_videos" -o "$demo/videos" --count 5120
fi

say "Dataset: the compressed videos, packed into HDF5 shards with an index"
run "$lockstep" pack "$source" -o "$dataset"
run "$lockstep" verify "$dataset"
run "$lockstep" inspect "$dataset"

say "Stop and resume: the same 40 steps, once in one go, once stopped by SIGTERM in the middle"
short=(--set optimization.steps=40 --set optimization.warmup_steps=10 --set "data.datasets=[$dataset]")
run "$lockstep" train "$config" -n "$WORKERS" "${short[@]}" --set "folder=$side-whole"
interrupted 15 "$side-stopped" "$lockstep" train "$config" -n "$WORKERS" "${short[@]}" --set "folder=$side-stopped"
run "$lockstep" train "$config" -n "$WORKERS" "${short[@]}" --set "folder=$side-stopped"
whole=$(digest "$side-whole")
stopped=$(digest "$side-stopped")
[ -n "$whole" ] || fail "no digest of $side-whole"
[ "$whole" = "$stopped" ] || fail "the stopped run has digest $stopped, the other $whole"
echo "Both end with the same weights, optimizer state and EMA, bit for bit: digest $whole"

say "Training: $WORKERS workers; stopped in the middle and taken up again"
train=("$lockstep" train "$config" -n "$WORKERS")
[ -z "${STEPS:-}" ] || train+=(--set "optimization.steps=$STEPS")
total=${STEPS:-$(sed -n 's/^  steps: *\([0-9]*\).*/\1/p' "$config")}
train+=(--set "data.datasets=[$dataset]" --set "folder=$run")
interrupted $((total / 2)) "$run" "${train[@]}"
run "${train[@]}"

say "What the metrics say ($run/metrics.jsonl)"
show scripts/check_run.sh "$run" "$total"
scripts/check_run.sh "$run" "$total" || fail "the run is not as it should be (above)"

if [ -z "$VIDEOS" ]; then
    say "How good are the features? Classifiers on the frozen encoder, from 64 labelled videos, tested on 256 others"
    for part in "train 64 11" "test 256 12"; do
        read -r name count seed <<<"$part"
        run "$BUILD/tools/motion_videos" -o "$demo/probe-$name/videos" --count "$count" --seed "$seed"
        run "$lockstep" pack "$demo/probe-$name/videos/LIST.csv" -o "$demo/probe-$name/dataset"
    done
    run "$lockstep" probe configs/demo-probe.yaml -n "$WORKERS" --checkpoint "$run" --set "folder=$demo/probe" \
        --set "experiment.data.dataset_train=$demo/probe-train/dataset" \
        --set "experiment.data.dataset_val=$demo/probe-test/dataset" | tee "$demo/probe.txt"
fi

if [ -z "$VIDEOS" ]; then
    say "Up in resolution: the same run goes on with a second stage, 40 steps at 96 x 96 pixels"
    train[2]=configs/demo-progressive.yaml
    run "${train[@]}"
    [ "$(steps_done "$run")" = $((total + 40)) ] || fail "the second stage has $(steps_done "$run") steps of metrics"
fi

say "The report: one file for a browser"
run "$lockstep" report "$run"

if [ -z "$VIDEOS" ]; then
    say "What was learnt: the encoder beside itself before its first step (8 classes, chance .125)"
    cat "$demo/probe.txt"
    if [ -z "${STEPS:-}" ]; then
        echo
        echo "Five seeds named beforehand each gained in nearest neighbours at this length, by more than the interval of 512 test videos"
        echo "(docs/learning.md).  This run is one more, on 256; of other videos it says nothing."
    else
        echo
        echo "docs/learning.md has what five seeds learnt at the config's own length; of $STEPS steps, and of other videos, nothing is claimed."
    fi
fi

cat <<TEXT

== You have, after $((SECONDS - begin)) s
  $dataset        the packed dataset
  $run            the run: metrics.jsonl (one line a step), config.yaml (as understood), checkpoints/
  $run/checkpoints/latest   encoder, predictor, EMA target and optimizer state
  $run/report.html   loss, features, speed, restarts: open it in a browser

A falling loss alone proves no good features; the probe measures them, on videos as simple as these.

== To try next
  $lockstep inspect $run/checkpoints/latest
  $lockstep train $config -n 4 --set "data.datasets=[$dataset]" --set folder=$demo/four-workers   # the same steps on 4 workers
  make demo VIDEOS=DIR                                     # your own videos
  $lockstep pack LIST.csv -o DATASET                       # lines "path label", as the public code reads
  configs/vitl16-pretrain-256px-16f.yaml                   # the real thing; docs/config.md explains every key
TEXT
