#!/bin/bash
# asan too
# timeout: 400
# What one rank's trouble does to all: another config or program on a node, a rank that stops, a
# loss that is not finite.  Each ends the job within its deadline, in one line that says who and why.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
lockstep=$BUILD/lockstep
worker=$(realpath "$BUILD/lockstep-worker")
need_program "$lockstep"
need_program "$BUILD/tools/motion_videos"
"$BUILD/tools/motion_videos" -o "$WORK/videos" --count 16 >"$WORK/log" 2>&1 || fail "$(tail -1 "$WORK/log")"
"$lockstep" pack "$WORK/videos/LIST.csv" -o "$WORK/dataset" >"$WORK/log" 2>&1 || fail "$(tail -1 "$WORK/log")"

# train RUN OPTION...: `lockstep train` of the demo's model with 2 layers, by 2 workers.
train() {
    local run=$1
    shift
    timeout -k 10 200 "$lockstep" train configs/demo.yaml -n 2 --set "folder=$WORK/$run" \
        --set "data.datasets=[$WORK/dataset]" --set model.depth=2 --set optimization.steps=40 \
        --set optimization.warmup_steps=2 --set meta.save_freq_steps=10 "$@" >"$WORK/$run.log" 2>&1
}
# prepare RUN OPTION...: a run folder with one step done, for workers that mpirun starts here.
prepare() {
    local code=0
    train "$@" --stop-at 1 || code=$?
    [ "$code" = 75 ] || fail "$1: exit code $code: $(tail -1 "$WORK/$1.log")"
}
# says PATTERN: stands in the last end records, of which there is one.
says() {
    grep -h -q -e "$1" "$WORK"/*/ends/000002-*.json || fail "no record says '$1': $(cat "$WORK"/*/ends/000002-*.json)"
}
forget() { rm -f "$WORK"/*/ends/000002-*.json; }

prepare one
prepare other --set meta.seed=5
code=0
timeout -k 5 200 mpirun --quiet --oversubscribe -n 2 "$worker" "$WORK/one" --run-epoch 2 : \
    -n 1 "$worker" "$WORK/other" --run-epoch 2 >"$WORK/log" 2>&1 || code=$?
[ "$code" = 2 ] || fail "another config: exit code $code: $(tail -1 "$WORK/log")"
says 'rank 2 on [^ ]* has another config than rank 0 on'
forget

cp "$worker" "$WORK/lockstep-worker"
printf '\n' >>"$WORK/lockstep-worker"
code=0
timeout -k 5 200 mpirun --quiet --oversubscribe -n 1 "$worker" "$WORK/one" --run-epoch 2 : \
    -n 1 "$WORK/lockstep-worker" "$WORK/one" --run-epoch 2 >"$WORK/log" 2>&1 || code=$?
[ "$code" = 2 ] || fail "another program: exit code $code: $(tail -1 "$WORK/log")"
says 'rank 1 on [^ ]* has another program'
forget

# What the ranks do together hangs on more than the config's fingerprint.
settings=('gpu_comm: mpi' 'deterministic: true')
case $BUILD in */asan) settings=('gpu_comm: mpi') ;; esac # the same lines, and a start takes seconds
for setting in "${settings[@]}"; do
    key=${setting%:*}
    rm -rf "$WORK/other"
    cp -r "$WORK/one" "$WORK/other"
    sed -i "s/^  $key: .*/  $setting/" "$WORK/other/config.yaml"
    code=0
    timeout -k 5 200 mpirun --quiet --oversubscribe -n 1 "$worker" "$WORK/one" --run-epoch 2 : \
        -n 1 "$worker" "$WORK/other" --run-epoch 2 >"$WORK/log" 2>&1 || code=$?
    [ "$code" = 2 ] || fail "another $key: exit code $code: $(tail -1 "$WORK/log")"
    says "rank 1 on [^ ]* has another lockstep.$key than rank 0 on"
    forget
done

# A rank is stopped in the middle of a step, far from any save.
prepare stalled --set lockstep.step_timeout_s=6 --set meta.save_freq_steps=100000 \
    --set optimization.steps=100000
ranks 3 300 "$worker" "$WORK/stalled" --run-epoch 2 --progress lines >"$WORK/log" 2>&1 &
job=$!
for tries in $(seq 2400); do
    [ "$(wc -l <"$WORK/stalled/metrics.jsonl")" -ge 5 ] && break
    [ "$tries" -lt 2400 ] || fail "stalled: no steps: $(tail -1 "$WORK/log")"
    sleep 0.05
done
victim=$(pgrep -f "^[^ ]*lockstep-worker $WORK/stalled " | tail -1)
kill -STOP "$victim" || fail "stalled: no rank to stop: $(tail -1 "$WORK/log")"
number=$(tr '\0' '\n' <"/proc/$victim/environ" | sed -n 's/^OMPI_COMM_WORLD_RANK=//p')
start=$SECONDS
code=0
wait "$job" || code=$?
[ "$code" != 0 ] || fail "stalled: exit code 0"
[ $((SECONDS - start)) -le 90 ] || fail "stalled: $((SECONDS - start)) s until the job ended"
says "\"status\":\"timeout\".*did not end within 6 s: nothing from rank [0-9, ]*$number"
forget

# A learning rate beyond all measure.
code=0
train diverged --set optimization.lr=1000 --set optimization.start_lr=1000 --set lockstep.max_bad_steps=3 || code=$?
[ "$code" = 11 ] || fail "diverged: exit code $code: $(tail -1 "$WORK/diverged.log")"
grep -q '^lockstep: .*loss or gradient was not finite in 3 steps in a row' "$WORK/diverged.log" ||
    fail "diverged: $(tail -1 "$WORK/diverged.log")"
[ "$(grep -c '"grad_norm":null.*"skipped":true' "$WORK/diverged/metrics.jsonl")" = 2 ] ||
    fail "diverged: $(cat "$WORK/diverged/metrics.jsonl")"

# Videos whose bytes are damaged: the rank that gives up takes all others with it.
cp -r "$WORK/dataset" "$WORK/rotten"
shard=$WORK/rotten/shard-00000.h5
dd if=/dev/zero of="$shard" bs=1000 seek=20 count=$(($(stat -c %s "$shard") / 1000 - 60)) conv=notrunc status=none
code=0
train spoilt --set "data.datasets=[$WORK/rotten]" --set lockstep.max_restarts=0 || code=$?
[ "$code" = 11 ] || fail "spoilt: exit code $code: $(tail -1 "$WORK/spoilt.log")"
[ "$(grep -c '^lockstep: ' "$WORK/spoilt.log")" = 1 ] || fail "spoilt: not one line: $(tail -3 "$WORK/spoilt.log")"
pass "other config, other program, stopped rank, not finite, unreadable videos"
