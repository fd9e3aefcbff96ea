#!/bin/bash
# timeout: 600
# emulated too
# One to four workers share the same 60 steps of real videos: the same clips and masks in every
# step, losses within the bounds of another order of float32 sums; a checkpoint of 3 workers is
# taken up by 1, 2 and 4.
# shellcheck source=tests/e2e/lib_train.sh
. "$(dirname "$0")/lib_train.sh"
pack_clean

for workers in 1 2 3 4; do
    train_all "of$workers" "$workers"
done

# Losses: 1e-6 in the first step, 1e-5 up to step 20, 1 % in the mean later.
/usr/bin/python3 - "$WORK" 1 3 4 >"$WORK/losses" <<'PYTHON' || fail "$(tail -1 "$WORK/losses")"
import json, sys
work, others = sys.argv[1], sys.argv[2:]
def read(workers):
    return [json.loads(line) for line in open(f"{work}/of{workers}/metrics.jsonl")]
two = read(2)
for workers in others:
    run = read(workers)
    far = [abs(a["loss"] - b["loss"]) / b["loss"] for a, b in zip(run, two)]
    mean = abs(sum(a["loss"] for a in run[20:]) / sum(b["loss"] for b in two[20:]) - 1)
    print(f"{workers} workers: first {far[0]:.1e}, to step 20 {max(far[:20]):.1e}, mean later {mean:.1e}")
    for a, b in zip(run, two):
        if a["draw_hash"] != b["draw_hash"]:
            sys.exit(print(f"{workers} workers: other clips or masks in step {a['step']}") or 1)
    if not (far[0] <= 1e-6 and max(far[:20]) <= 1e-5 and mean <= 1e-2):
        sys.exit(print(f"{workers} workers: losses are beyond their bounds") or 1)
PYTHON
sed 's/^/  /' "$WORK/losses"

# A checkpoint of 3 workers, half-way.
code=0
train origin 3 --stop-at $((steps / 2)) || code=$?
[ "$code" = 75 ] || fail "origin: exit code $code, not 75: $(tail -1 "$WORK/origin.log")"
[ "$(find "$WORK/origin/checkpoints/latest/" -name 'shard-*' | wc -l)" = 3 ] || fail "origin: not 3 shards"
for workers in 1 2 4; do
    cp -r "$WORK/origin" "$WORK/from$workers"
    train_all "from$workers" "$workers"
    grep -q "resume from=.*finished_steps=$((steps / 2))" "$WORK/from$workers.log" || fail "from$workers: did not resume"
done
# Rewritten by another number of workers without a step in between, the state is the same.
cp -r "$WORK/origin" "$WORK/moved"
before=$(digest origin)
code=0
train moved 4 --stop-at $((steps / 2 + 1)) || code=$?
[ "$code" = 75 ] || fail "moved: exit code $code"
[ "$(digest moved "$(basename "$(readlink -f "$WORK/origin/checkpoints/latest")")")" = "$before" ] ||
    fail "moved: the checkpoint of 3 workers changed"
pass "$DEVICE: 1 to 4 workers; a checkpoint of 3 goes on with 1, 2 and 4"
