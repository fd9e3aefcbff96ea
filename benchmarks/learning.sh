#!/usr/bin/env bash
# Does pretraining add anything?  Over several seeds: pretraining, then k-NN and attentive probes with few labels, of the
# pretrained encoder and of the same one before its first step.
#
#   benchmarks/learning.sh             the demo's recipe on the drawn motion videos (`make bench-learning`)
#   benchmarks/learning.sh VIDEOS      configs/demo-videos.yaml on real ones: a folder with labels.csv, whose columns are
#                                      file, label, label_id, group, split (train or test), ...
#
# Writes benchmarks/results/learning.md and .csv.  STEPS (1500), SEEDS ("1 2 3 4 5"), WORKERS (1) and THREADS (1, of a
# worker) can be set.  What is done stays in BUILD/bench-learning and is not done again: a stopped run goes on.
# docs/learning.md says what is measured, why, and what came out.
set -euo pipefail
cd "$(dirname "$0")/.."
BUILD=${BUILD:-build}
STEPS=${STEPS:-1500}
SEEDS=${SEEDS:-1 2 3 4 5}
WORKERS=${WORKERS:-1} THREADS=${THREADS:-1}
VIDEOS=${1:-}
home=$BUILD/bench-learning
lockstep=$BUILD/lockstep
every=500 # steps between the checkpoints of which the curve is made
mkdir -p "$home"

# quiet NAME COMMAND...: what it says goes to NAME.log, and to the terminal if it fails.
quiet() {
    local log=$home/$1.log
    shift
    "$@" >"$log" 2>&1 || { tail -n 5 "$log" >&2; exit 1; }
}

# pack NAME LIST: a dataset that is made once
pack() {
    quiet "$1" "$lockstep" pack "$2" -o "$home/$1/dataset"
    touch "$home/$1/done"
}

# Pretraining, labelled and test videos are of different seeds; the demo's own probe has others again.
make_motion() {
    local part name count seed
    for part in "pretrain 5120 0" "labelled 256 101" "test 512 102"; do
        read -r name count seed <<<"$part"
        [ ! -e "$home/$name/done" ] || continue
        quiet "$name" "$BUILD/tools/motion_videos" -o "$home/$name/videos" --count "$count" --seed "$seed"
        pack "$name" "$home/$name/videos/LIST.csv"
    done
}

# The videos of the training split are pretrained on without their labels, and are the labelled ones of the probe.
make_real() {
    local name
    for name in train test; do
        [ ! -e "$home/real-$name/done" ] || continue
        mkdir -p "$home/real-$name"
        awk -F, -v part="$name" -v folder="$(realpath "$VIDEOS")" \
            'NR > 1 && $5 == part { print folder "/" $1, $3 }' "$VIDEOS/labels.csv" >"$home/real-$name/list.csv"
        pack "real-$name" "$home/real-$name/list.csv"
    done
}

# probe RUN SEED TAG CHECKPOINT INIT OPTION...: the results stay in RUN/probe/TAG-*.json.
probe() {
    local run=$1 seed=$2 tag=$3 checkpoint=$4 init=$5
    shift 5
    [ ! -e "$run/probe/$tag-pretrained.json" ] || { [ "$init" = both ] && [ ! -e "$run/probe/$tag-random.json" ]; } || return 0
    quiet "probe-$tag" "$lockstep" probe configs/demo-probe.yaml -n "$WORKERS" --threads "$THREADS" --checkpoint "$checkpoint" \
        --init "$init" --set "seed=$seed" --set "tag=$tag" --set "folder=$home/probe" \
        --set "experiment.data.dataset_train=$labelled" --set "experiment.data.dataset_val=$test" "$@"
}

if [ -z "$VIDEOS" ]; then
    make_motion
    set=steps config=configs/demo.yaml
    pretrain=$home/pretrain/dataset labelled=$home/labelled/dataset test=$home/test/dataset
    few=(--set experiment.data.labels=64)
else
    make_real
    set=real config=configs/demo-videos.yaml
    pretrain=$home/real-train/dataset labelled=$pretrain test=$home/real-test/dataset
    classes=$(sed 's/.* //' "$home/real-train/list.csv" | sort -n | tail -n 1)
    few=(--set "experiment.data.num_classes=$((classes + 1))" --set experiment.data.frame_step=0 --set experiment.data.fps=4
        --set experiment.data.num_segments=2)
fi
neighbours=("${few[@]}" --set knn=10 --set experiment.optimization.num_epochs=1) # no classifier is wanted

for seed in $SEEDS; do
    run=$home/$set-$STEPS/seed-$seed
    echo "bench-learning: seed $seed: $STEPS steps"
    quiet train "$lockstep" train "$config" -n "$WORKERS" --threads "$THREADS" --set "optimization.steps=$STEPS" \
        --set "meta.seed=$seed" --set "meta.save_freq_steps=$every" --set meta.keep_last=1000 \
        --set "data.datasets=[$pretrain]" --set "folder=$run"
    scripts/check_run.sh "$run" "$STEPS" >"$run/check.txt" || true # told in the table, and no reason to leave a seed out
    echo "bench-learning: seed $seed: probes"
    last=$run/checkpoints/step-$(printf %09d "$STEPS")
    probe "$run" "$seed" few "$last" both "${few[@]}"
    probe "$run" "$seed" ten64 "$last" both "${neighbours[@]}"
    if [ -z "$VIDEOS" ]; then
        probe "$run" "$seed" ten256 "$last" both "${neighbours[@]}" --set experiment.data.labels=256
    fi
    for ((step = every; step < STEPS; step += every)); do
        probe "$run" "$seed" "at$step" "$run/checkpoints/step-$(printf %09d "$step")" pretrained "${neighbours[@]}" --set knn=5
    done
    /usr/bin/python3 benchmarks/learning_table.py "$home" benchmarks/results/learning
done
sed -n '/^|/p' benchmarks/results/learning.md
