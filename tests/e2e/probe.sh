#!/usr/bin/env bash
# timeout: 300
# emulated too
# The frozen probe on the demo's videos: results of both inits, the same on 1 and 2 workers, features for other programs,
# nothing half written when it is stopped, one line for what cannot be.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
lockstep=$BUILD/lockstep
need_program "$lockstep"
need_program "$WORKER"
need_program "$BUILD/tools/motion_videos"

for part in "train 32 11" "test 48 12"; do
    read -r name count seed <<<"$part"
    "$BUILD/tools/motion_videos" -o "$WORK/v-$name" --count "$count" --seed "$seed" >"$WORK/make.log" 2>&1 || fail "$(tail -1 "$WORK/make.log")"
done
"$lockstep" pack "$WORK/v-train/LIST.csv" -o "$WORK/train" >"$WORK/pack.log" 2>&1 || fail "pack: $(tail -1 "$WORK/pack.log")"
# shellcheck disable=SC2154 # set by lib.sh
"$lockstep" train configs/demo.yaml -n 2 "${device_options[@]}" --set "folder=$WORK/run" --set "data.datasets=[$WORK/train]" --set optimization.steps=4 \
    --set optimization.warmup_steps=1 --set model.depth=2 >"$WORK/train.log" 2>&1 || fail "train: $(tail -1 "$WORK/train.log")"

# probe NAME WORKERS [OPTION...]: the test's videos are a list, which is packed first.
common=("${device_options[@]}" --set "folder=$WORK/probe" --checkpoint "$WORK/run"
    --set "experiment.data.dataset_train=$WORK/train" --set "experiment.data.dataset_val=$WORK/v-test/LIST.csv")
probe() {
    local name=$1 workers=$2
    shift 2
    "$lockstep" probe configs/demo-probe.yaml -n "$workers" "${common[@]}" --set "tag=$name" "$@" >"$WORK/$name.out" 2>"$WORK/$name.log"
}
value() { # FILE KEYS...: a number of a result
    /usr/bin/python3 -c 'import json, sys
at = json.load(open(sys.argv[1]))
for key in sys.argv[2:]: at = at[int(key) if key.isdigit() else key]
print(at)' "$WORK/run/probe/$1.json" "${@:2}"
}
short=(--set experiment.optimization.num_epochs=6)

probe two 2 "${short[@]}" || fail "2 workers: $(tail -1 "$WORK/two.log")"
grep -q 'pretrained   random init    difference' "$WORK/two.out" || fail "no table: $(head -1 "$WORK/two.out")"
for init in pretrained random; do
    [ "$(value two-$init init)" = $init ] || fail "result of $init"
    [ "$(value two-$init test videos)" = 48 ] || fail "$init: videos of the test"
    sum=$(/usr/bin/python3 -c 'import json, sys
r = json.load(open(sys.argv[1])); m = r["confusion"]
assert sum(map(sum, m)) == 48 and abs(sum(m[i][i] for i in range(8)) / 48 - r["top1"]) < 1e-9
assert len(r["heads"]) == 3 and max(h["top1"] for h in r["heads"]) == r["top1"] == r["heads"][r["best_head"]]["top1"]
assert [c["videos"] for c in r["per_class"]] == [6] * 8 and len(r["epochs"]) == 6 and r["knn"]["k"] == 5
assert r["epochs"][5]["train_loss"] < r["epochs"][0]["train_loss"] and r["chance"] == 0.125
print("ok")' "$WORK/run/probe/two-$init.json" 2>&1)
    [ "$sum" = ok ] || fail "$init: $(tail -1 <<<"$sum")"
done
[ "$(value two-pretrained heads 0 train_loss)" != "$(value two-random heads 0 train_loss)" ] || fail "both inits are one encoder"

# One worker draws the same and comes to the same losses; the same again gives the same bits.
probe one 1 "${short[@]}" --init pretrained || fail "1 worker: $(tail -1 "$WORK/one.log")"
[ ! -e "$WORK/run/probe/one-random.json" ] || fail "random init was not asked for"
awk -v a="$(value one-pretrained epochs 0 train_loss)" -v b="$(value two-pretrained epochs 0 train_loss)" \
    'BEGIN { d = a - b; exit !(d < 1e-5 && d > -1e-5) }' || fail "1 and 2 workers have other losses"
probe again 1 "${short[@]}" --init pretrained || fail "again: $(tail -1 "$WORK/again.log")"
same() { /usr/bin/python3 -c 'import json, sys
a, b = (json.load(open(p)) for p in sys.argv[1:])
sys.exit(any(a[k] != b[k] for k in ("heads", "confusion", "knn", "epochs")))' "$WORK/run/probe/$1.json" "$WORK/run/probe/$2.json"; }
same one-pretrained again-pretrained || fail "a repeat gives other numbers"

# Random crops, segments and views: another way through the same parts.
probe crops 2 --set experiment.optimization.num_epochs=1 --init random --set experiment.data.augment=true --set experiment.data.num_segments=2 \
    --set experiment.data.num_views_per_segment=2 --set experiment.data.frames_per_clip=4 --set experiment.classifier.num_probe_blocks=2 ||
    fail "crops: $(tail -1 "$WORK/crops.log")"
[ "$(value crops-random budget views)" = 2 ] || fail "views of the result"

# 16 labels of a list that goes class by class: 2 of each, as of a list with these alone.
sort -t ' ' -k 2 -s "$WORK/v-train/LIST.csv" >"$WORK/v-train/classes.csv"
awk 'seen[$2]++ < 2' "$WORK/v-train/classes.csv" >"$WORK/v-train/first.csv"
probe few 2 "${short[@]}" --init random --set "experiment.data.dataset_train=$WORK/v-train/classes.csv" --labels 16 || fail "labels: $(tail -1 "$WORK/few.log")"
probe alone 2 "${short[@]}" --init random --set "experiment.data.dataset_train=$WORK/v-train/first.csv" || fail "list: $(tail -1 "$WORK/alone.log")"
[ "$(value few-random train videos)" = 16 ] || fail "16 labels: $(value few-random train videos) videos"
same few-random alone-random || fail "16 labels are not the first 2 of each class"

# Stopped: 75, and no result.
"$lockstep" probe configs/demo-probe.yaml -n 2 "${common[@]}" --set tag=stopped --set experiment.optimization.num_epochs=100000 --init pretrained \
    >"$WORK/stopped.out" 2>"$WORK/stopped.log" &
for tries in $(seq 1200); do
    grep -qs 'probe init=pretrained' "$WORK/stopped.log" && break
    [ "$tries" -lt 1200 ] || fail "stopped: it does not begin: $(tail -1 "$WORK/stopped.log")"
    sleep 0.1
done
kill -TERM $!
code=0
wait $! || code=$?
[ "$code" = 75 ] || fail "stopped with exit code $code: $(tail -1 "$WORK/stopped.log")"
[ -z "$(find "$WORK/run/probe" -name 'stopped*')" ] || fail "a stopped probe left $(ls "$WORK/run/probe")"

refuse() { # STATUS PATTERN OPTIONS...
    local status=0
    probe refused 1 "${@:3}" || status=$?
    [ "$status" = "$1" ] || fail "${*:3}: exit status $status, not $1: $(tail -1 "$WORK/refused.log")"
    grep -q -e "$2" "$WORK/refused.log" || fail "${*:3}: $(tail -1 "$WORK/refused.log")"
}
refuse 10 'no such run or checkpoint' --checkpoint "$WORK/nowhere"
refuse 2 'is a file' --checkpoint configs/demo.yaml
refuse 2 'num_heads: 3 heads do not divide' --set experiment.classifier.num_heads=3
refuse 2 'there are 4 classes' --set experiment.data.num_classes=4
refuse 2 'patch_size is 16' --set model_kwargs.pretrain_kwargs.encoder.patch_size=16
refuse 2 'has 32 videos, fewer than the 33' --labels 33
refuse 2 'at most 4' -n 5
pass "both inits, 1 and 2 workers, crops, few labels, a stop"
