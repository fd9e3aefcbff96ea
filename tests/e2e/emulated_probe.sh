#!/usr/bin/env bash
# timeout: 240
# `lockstep probe`, `features` and `show` on an emulated card: the CPU's numbers from the same checkpoint.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/e2e/lib_emulated.sh
. "$(dirname "$0")/lib_emulated.sh"
need_emulated
/usr/bin/python3 -c 'import h5py, numpy' 2>/dev/null || skip "no h5py"
LOCKSTEP_WORKER=$(realpath "$emulated/lockstep-worker")
export LOCKSTEP_WORKER
"$BUILD/tools/motion_videos" -o "$WORK/labelled" --count 16 >"$WORK/log" 2>&1 || fail "no videos: $(tail -1 "$WORK/log")"
"$lockstep" pack "$WORK/labelled/LIST.csv" -o "$WORK/set" >"$WORK/log" 2>&1 || fail "no dataset: $(tail -1 "$WORK/log")"
train run cpu --set lockstep.threads=1 --set meta.dtype=float32 || fail "train: $(tail -1 "$WORK/run.log")"

for device in cpu emulated; do
    timeout -k 5 100 "$lockstep" probe configs/demo-probe.yaml -n 1 --device $device --threads 1 --set "folder=$WORK/probe" \
        --checkpoint "$WORK/run" --init pretrained --set "experiment.data.dataset_train=$WORK/set" \
        --set "experiment.data.dataset_val=$WORK/set" --set "tag=$device" --set experiment.data.resolution=32 \
        --set experiment.optimization.num_epochs=3 >"$WORK/$device.log" 2>&1 || fail "probe on $device: $(tail -1 "$WORK/$device.log")"
    timeout -k 5 60 "$lockstep" features "$WORK/run" "$WORK/set" --tokens --device $device -o "$WORK/$device.h5" >"$WORK/$device.features.log" 2>&1 ||
        fail "features on $device: $(tail -1 "$WORK/$device.features.log")"
    timeout -k 5 60 "$lockstep" show "$WORK/run" "$WORK/set" --video '#3' --masks 1 --device $device -o "$WORK/$device.png" \
        >"$WORK/$device.show.log" 2>&1 || fail "show on $device: $(tail -1 "$WORK/$device.show.log")"
done
[ "$(sed 's|.*; components|components|' "$WORK/cpu.show.log")" = "$(sed 's|.*; components|components|' "$WORK/emulated.show.log")" ] ||
    fail "show: $(cat "$WORK/emulated.show.log"), not $(cat "$WORK/cpu.show.log")"
/usr/bin/python3 - "$WORK" >"$WORK/said" 2>&1 <<'PY' || fail "$(tail -1 "$WORK/said")"
import json, sys
import h5py, numpy as np

work = sys.argv[1]
a, b = (h5py.File(f"{work}/{d}.h5", "r")["features"][:] for d in ("cpu", "emulated"))
off = np.abs(a - b).max() / np.abs(a).max()
assert off < 1e-5, f"features differ by {off:.1e} of the largest"
r = [json.load(open(f"{work}/run/probe/{d}-pretrained.json")) for d in ("cpu", "emulated")]
worst = max(abs(x["train_loss"] - y["train_loss"]) for x, y in zip(r[0]["heads"], r[1]["heads"]))
assert worst < 1e-4, f"losses of the classifiers differ by {worst:.1e}"
assert r[0]["knn"] == r[1]["knn"], f"{r[0]['knn']} {r[1]['knn']}"
print(f"features {off:.1e}, losses {worst:.1e} from the CPU's")
PY
pass "$(cat "$WORK/said")"
