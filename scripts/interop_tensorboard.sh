#!/usr/bin/env bash
# Has the tensorboard package read the event files of a run whose worker was killed between two saves, and compares every
# number with metrics.jsonl: a part of `make test-interop`.
#
#   scripts/interop_tensorboard.sh     needs build/lockstep, build/lockstep-worker and build/tools/motion_videos
#
# The virtual environment (about 100 MB) stays in BUILD/interop-tensorboard.
set -euo pipefail
cd "$(dirname "$0")/.."
BUILD=${BUILD:-build}
mkdir -p "$BUILD"
venv=$(cd "$BUILD" && pwd)/interop-tensorboard
work=$(mktemp -d "${TMPDIR:-/tmp}/lockstep-tensorboard.XXXXXX")
trap 'rm -rf "$work"' EXIT
export OMP_WAIT_POLICY=passive

wanted=$(cksum <tests/interop/tensorboard.txt)
if [ "$(cat "$venv/wanted" 2>/dev/null)" != "$wanted" ]; then
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --requirement tests/interop/tensorboard.txt
    echo "$wanted" >"$venv/wanted"
fi
fail() { echo "interop tensorboard: FAILED: $1"; exit 1; }
quiet() { "$@" >"$work/log" 2>&1 || fail "$*: $(tail -n 2 "$work/log")"; }
lines() { if [ -e "$work/run/metrics.jsonl" ]; then wc -l <"$work/run/metrics.jsonl"; else echo 0; fi; }

quiet "$BUILD/tools/motion_videos" -o "$work/videos" --count 16
quiet "$BUILD/lockstep" pack "$work/videos/LIST.csv" -o "$work/dataset"
"$BUILD/lockstep" train configs/demo.yaml -n 2 --set "data.datasets=[$work/dataset]" --set "folder=$work/run" \
    --set optimization.steps=120 --set optimization.warmup_steps=2 --set meta.save_freq_steps=40 >"$work/train" 2>&1 &
job=$!
for _ in $(seq 1200); do
    [ "$(lines)" -lt 55 ] || break
    sleep 0.05
done
worker=$(pgrep -f "^[^ ]*lockstep-worker $work/run " | tail -n 1)
kill -9 "$worker"
wait "$job" || fail "train: $(tail -n 1 "$work/train")"
[ "$(cat "$work/run/run-epoch")" = 2 ] || fail "the run was not started again"
"$venv/bin/python" tests/interop/tensorboard_events.py "$work/run" >"$work/log" 2>&1 ||
    fail "$(tail -n 1 "$work/log")"
echo "interop tensorboard: ok: $(cat "$work/log")"
