#!/usr/bin/env bash
# Does pretraining add anything?  Over several seeds: the demo's recipe on the drawn motion videos, then k-NN and
# attentive probes with few labels, of the pretrained encoder and of the same one before its first step.
#
#   benchmarks/learning.sh       writes benchmarks/results/learning.md and .csv (`make bench-learning`)
#
# STEPS (1500), SEEDS ("1 2 3 4 5"), WORKERS (1) and THREADS (1, of a worker) can be set.  What is
# done stays in BUILD/bench-learning and is not done again: a stopped run goes on.  docs/learning.md says what is
# measured, why, and what came out.
set -euo pipefail
cd "$(dirname "$0")/.."
BUILD=${BUILD:-build}
STEPS=${STEPS:-1500}
SEEDS=${SEEDS:-1 2 3 4 5}
WORKERS=${WORKERS:-1} THREADS=${THREADS:-1}
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

# Pretraining, labelled and test videos are of different seeds; the demo's own probe has others again.
for part in "pretrain 5120 0" "labelled 256 101" "test 512 102"; do
    read -r name count seed <<<"$part"
    [ ! -e "$home/$name/done" ] || continue
    quiet "$name" "$BUILD/tools/motion_videos" -o "$home/$name/videos" --count "$count" --seed "$seed"
    quiet "$name" "$lockstep" pack "$home/$name/videos/LIST.csv" -o "$home/$name/dataset"
    touch "$home/$name/done"
done

# probe RUN SEED TAG CHECKPOINT INIT OPTION...: the results stay in RUN/probe/TAG-*.json.
probe() {
    local run=$1 seed=$2 tag=$3 checkpoint=$4 init=$5
    shift 5
    [ ! -e "$run/probe/$tag-pretrained.json" ] || { [ "$init" = both ] && [ ! -e "$run/probe/$tag-random.json" ]; } || return 0
    quiet "probe-$tag" "$lockstep" probe configs/demo-probe.yaml -n "$WORKERS" --threads "$THREADS" --checkpoint "$checkpoint" \
        --init "$init" --set "seed=$seed" --set "tag=$tag" --set "folder=$home/probe" \
        --set "experiment.data.dataset_train=$home/labelled/dataset" --set "experiment.data.dataset_val=$home/test/dataset" "$@"
}
neighbours=(--set experiment.optimization.num_epochs=1) # no classifier is wanted

for seed in $SEEDS; do
    run=$home/steps-$STEPS/seed-$seed
    echo "bench-learning: seed $seed: $STEPS steps"
    quiet train "$lockstep" train configs/demo.yaml -n "$WORKERS" --threads "$THREADS" --set "optimization.steps=$STEPS" \
        --set "meta.seed=$seed" --set "meta.save_freq_steps=$every" --set meta.keep_last=1000 \
        --set "data.datasets=[$home/pretrain/dataset]" --set "folder=$run"
    scripts/check_run.sh "$run" "$STEPS" >"$run/check.txt" || true # told in the table, and no reason to leave a seed out
    echo "bench-learning: seed $seed: probes"
    last=$run/checkpoints/step-$(printf %09d "$STEPS")
    probe "$run" "$seed" few "$last" both --labels 64
    probe "$run" "$seed" ten64 "$last" both --labels 64 --set knn=10 "${neighbours[@]}"
    probe "$run" "$seed" ten256 "$last" both --labels 256 --set knn=10 "${neighbours[@]}"
    for ((step = every; step < STEPS; step += every)); do
        probe "$run" "$seed" "at$step" "$run/checkpoints/step-$(printf %09d "$step")" pretrained --labels 64 "${neighbours[@]}"
    done
    /usr/bin/python3 benchmarks/learning_table.py "$home" benchmarks/results/learning
done
sed -n '/^|/p' benchmarks/results/learning.md
