#!/usr/bin/env bash
# timeout: 90
# emulated too
# `lockstep features`: shapes, names and labels; the mean of the tokens is the pooled vector; neighbours found from the files
# by other means are those that the probe finds; stopped, or given what it cannot use, it leaves nothing.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
lockstep=$BUILD/lockstep
for program in "$lockstep" "$WORKER" "$BUILD/tools/motion_videos"; do need_program "$program"; done
/usr/bin/python3 -c 'import h5py, numpy' 2>/dev/null || skip "no h5py"
for part in "train 24 11" "test 24 12"; do
    read -r name count seed <<<"$part"
    "$BUILD/tools/motion_videos" -o "$WORK/v-$name" --count "$count" --seed "$seed" >"$WORK/log" 2>&1 || fail "$(tail -1 "$WORK/log")"
    "$lockstep" pack "$WORK/v-$name/LIST.csv" -o "$WORK/$name" >"$WORK/log" 2>&1 || fail "pack: $(tail -1 "$WORK/log")"
done
# shellcheck disable=SC2154 # set by lib.sh
"$lockstep" train configs/demo.yaml -n 1 "${device_options[@]}" --set "folder=$WORK/run" --set "data.datasets=[$WORK/train]" \
    --set tasks_per_node=1 --set optimization.steps=2 --set optimization.warmup_steps=1 --set model.depth=2 --set model.embed_dim=32 \
    --set model.num_heads=2 --set model.pred_embed_dim=32 --set model.pred_num_heads=2 --set model.pred_depth=1 \
    >"$WORK/log" 2>&1 || fail "train: $(tail -1 "$WORK/log")"

features() { # OUTPUT ARGUMENTS...
    timeout -k 5 60 "$lockstep" features "${@:2}" "${device_options[@]}" -o "$WORK/$1" >"$WORK/$1.log" 2>&1
}
for part in train test; do
    features $part.h5 "$WORK/run" "$WORK/$part" || fail "$part: $(tail -1 "$WORK/$part.h5.log")"
done
features tokens.h5 "$WORK/run" "$WORK/test" --tokens --batch 5 || fail "tokens: $(tail -1 "$WORK/tokens.h5.log")"
features encoder.h5 "$WORK/run" "$WORK/test" --network random || fail "random: $(tail -1 "$WORK/encoder.h5.log")"
"$lockstep" probe configs/demo-probe.yaml -n 1 "${device_options[@]}" --set "folder=$WORK/probe" --checkpoint "$WORK/run" --init pretrained \
    --set "experiment.data.dataset_train=$WORK/train" --set "experiment.data.dataset_val=$WORK/test" --set tag=knn \
    --set experiment.optimization.num_epochs=1 >"$WORK/probe.log" 2>&1 || fail "probe: $(tail -1 "$WORK/probe.log")"
/usr/bin/python3 - "$WORK" >"$WORK/log" 2>&1 <<'PY' || fail "$(tail -1 "$WORK/log")"
import glob, json, sys
import h5py, numpy as np

work = sys.argv[1]
data = {n: h5py.File(f"{work}/{n}.h5", "r") for n in ("train", "test", "tokens", "encoder")}
x = {n: data[n]["features"][:].astype(np.float64) for n in data}
assert x["train"].shape == x["test"].shape == x["encoder"].shape == (24, 32), x["train"].shape
assert x["tokens"].shape == (24, 4 * 8 * 8, 32), x["tokens"].shape
assert np.abs(x["tokens"].mean(1) - x["test"]).max() < 1e-5, "the mean of the tokens is not the pooled vector"
assert np.abs(x["encoder"] - x["test"]).max() > 1e-3, "the random encoder is the pretrained one"
names = [n.decode() for n in data["train"]["names"][:]]
listed = [line.split()[0] for line in open(f"{work}/v-train/LIST.csv")]
assert [n.rsplit("/", 1)[-1] for n in names] == [n.rsplit("/", 1)[-1] for n in listed], names[:3]
labels = {n: data[n]["labels"][:] for n in ("train", "test")}
assert list(labels["train"]) == [int(line.split()[1]) for line in open(f"{work}/v-train/LIST.csv")]
mean, std = x["train"].mean(0), x["train"].std(0)
z = {n: (x[n] - mean) / std for n in ("train", "test")}
z = {n: v / np.linalg.norm(v, axis=1, keepdims=True) for n, v in z.items()}
right = 0
for row, label in zip(z["test"], labels["test"]):
    cosine = z["train"] @ row
    votes = np.full(8, -np.inf)
    for i in np.argsort(-cosine, kind="stable")[:5]:
        votes[labels["train"][i]] = np.maximum(votes[labels["train"][i]], 0) + cosine[i]
    right += int(votes.argmax()) == label
knn = json.load(open(glob.glob(f"{work}/run/probe/knn-pretrained.json")[0]))["knn"]
assert knn["k"] == 5 and abs(knn["top1"] - right / 24) < 1e-9, f"{right} of 24 here, {knn} there"
PY

refuse() { # STATUS PATTERN OUTPUT ARGUMENTS...
    local status=0
    features "$3" "${@:4}" || status=$?
    [ "$status" = "$1" ] || fail "$3: exit code $status, not $1: $(tail -1 "$WORK/$3.log")"
    [ "$(grep -c -v 'level=info' "$WORK/$3.log")" = 1 ] || fail "$3: not one line: $(cat "$WORK/$3.log")"
    grep -q -e "$2" "$WORK/$3.log" || fail "$3: $(tail -1 "$WORK/$3.log")"
    [ ! -e "$WORK/$3" ] || fail "$3 was written all the same"
}
refuse 10 'nowhere: no such run or checkpoint' nowhere.h5 "$WORK/nowhere" "$WORK/test"
refuse 2 'is no multiple of the encoder' odd.h5 "$WORK/run" "$WORK/test" --frames 5
echo 'not a video' >"$WORK/text.mp4"
echo "$WORK/text.mp4 0" >"$WORK/bad.csv"
refuse 11 'could be packed (the first: text, not a video)' bad.h5 "$WORK/run" "$WORK/bad.csv"
# Damage in the middle of a shard: its videos are told, and have no features.
cp -r "$WORK/test" "$WORK/hurt"
shard=$(find "$WORK/hurt" -name 'shard-*.h5')
head -c 3000 /dev/zero | dd of="$shard" bs=1 seek=$(($(stat -c %s "$shard") / 2)) conv=notrunc 2>"$WORK/log"
features hurt.h5 "$WORK/run" "$WORK/hurt" || fail "a damaged shard: $(tail -1 "$WORK/hurt.h5.log")"
bad=$(grep -c 'video_left_out' "$WORK/hurt.h5.log")
[ "$bad" -gt 0 ] || fail "a damaged shard: no video is told"
grep -q "features .* videos=24 unreadable=$bad " "$WORK/hurt.h5.log" || fail "a damaged shard: $(tail -1 "$WORK/hurt.h5.log")"

# Stopped while it works on what would take minutes.
features stopped.h5 "$WORK/run" "$WORK/test" --segments 64 --size 128 --batch 1 &
job=$!
for _ in $(seq 1000); do
    grep -qs 'joined ranks=1' "$WORK/stopped.h5.log" && break
    sleep 0.02
done
kill -TERM "$(pgrep -P "$job" -f 'lockstep features' | head -1)" || fail "stopped.h5: not there to be stopped"
code=0
wait "$job" || code=$?
[ "$code" = 75 ] || fail "stopped with exit code $code: $(tail -1 "$WORK/stopped.h5.log")"
left=$(find "$WORK" -maxdepth 1 -name 'stopped.h5' -o -maxdepth 1 -name '*.work-*' -o -maxdepth 1 -name '*.tmp-*')
[ -z "$left" ] || fail "left behind: $left"
pass "pooled and tokens, the probe's neighbours, damage, a stop"
