#!/bin/bash
# timeout: 600
# What can go wrong while a run lives: damaged checkpoints, a full disk, a killed worker, a killed
# launcher, a changed config.  Each ends in one line with its exit code, or goes on, and the last
# good checkpoint is intact.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
lockstep=$BUILD/lockstep
need_program "$lockstep"
need_program "$BUILD/lockstep-worker"
need_program "$BUILD/tools/motion_videos"
"$BUILD/tools/motion_videos" -o "$WORK/videos" --count 16 --seed 1 >"$WORK/log" 2>&1 ||
    fail "motion_videos: $(tail -1 "$WORK/log")"

# train NAME [OPTION...]: 12 steps of a small model, saved every 4; output in NAME.log.
train() {
    local name=$1
    shift
    timeout -k 10 200 "$lockstep" train configs/demo.yaml -n 2 --set "folder=$WORK/$name" \
        --set "data.datasets=[$WORK/videos/LIST.csv]" --set "data.packed_folder=$WORK/packed" \
        --set optimization.steps=12 --set optimization.warmup_steps=2 --set meta.save_freq_steps=4 \
        --set meta.eval_freq=6 --set model.depth=2 "$@" >"$WORK/$name.log" 2>&1
}

# ends CODE NAME [OPTION...]: the run ends with CODE, and with one line where that is a failure.
ends() {
    local code=$1 name=$2 got=0
    shift
    train "$@" || got=$?
    [ "$got" = "$code" ] || fail "$name: exit code $got, not $code: $(tail -2 "$WORK/$name.log")"
    case $code in
    0 | 75) [ "$(grep -c '^lockstep: ' "$WORK/$name.log")" = 0 ] || fail "$name: $(grep '^lockstep: ' "$WORK/$name.log")" ;;
    *) [ "$(grep -c '^lockstep: ' "$WORK/$name.log")" = 1 ] || fail "$name: not one line: $(tail -3 "$WORK/$name.log")" ;;
    esac
}
says() { # NAME PATTERN
    grep -q -e "$2" "$WORK/$1.log" || fail "$1: does not say '$2': $(tail -3 "$WORK/$1.log")"
}
shard() { echo "$WORK/$1/checkpoints/step-0000000$2/shard-0001-of-0002.h5"; }
field() { # NAME FIELD: of the newest checkpoint
    "$lockstep" inspect "$WORK/$1/checkpoints/latest" --json | sed -n "s/.*\"$2\":\"*\([0-9a-f]*\).*/\1/p"
}
flip() { # FILE OFFSET: the byte there becomes another
    local byte
    byte=$(od -An -tu1 -j "$2" -N 1 "$1")
    printf '%b' "$(printf '\\x%02x' $((byte ^ 4)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

# wait_for NAME TEXT: until it stands in the run's log.
wait_for() {
    for _ in $(seq 2400); do
        grep -q -e "$2" "$WORK/$1.log" 2>/dev/null && return
        sleep 0.05
    done
    fail "$1: '$2' did not come: $(tail -2 "$WORK/$1.log")"
}
workers_of() { pgrep -f "^[^ ]*lockstep-worker $WORK/$1 "; }

# The reference, and its state taken up after damage: the same end.
ends 0 whole
digest=$(field whole digest)
[ "${#digest}" = 32 ] || fail "whole: no digest: '$digest'"
"$lockstep" verify "$WORK/whole" >"$WORK/log" 2>&1 || fail "whole: does not verify: $(head -1 "$WORK/log")"

ends 75 damaged --stop-at 8
[ "$(field damaged step)" = 8 ] || fail "--stop-at 8 ended at step $(field damaged step)"
ends 75 damaged --stop-at 8
[ "$(field damaged step)" = 8 ] || fail "--stop-at 8 given again went on to step $(field damaged step)"
cp -r "$WORK/damaged" "$WORK/lost"
flip "$(shard damaged 08)" 500000
code=0
"$lockstep" verify "$WORK/damaged" >"$WORK/log" 2>&1 || code=$?
[ "$code" = 1 ] || fail "verify of a damaged run: exit code $code"
grep -q "step-000000008/shard-0001-of-0002.h5: damaged: elements [0-9]* to [0-9]* of " "$WORK/log" ||
    fail "verify does not name the damage: $(head -1 "$WORK/log")"
ends 0 damaged
says damaged 'checkpoint_damaged .*step-000000008/shard-0001-of-0002.h5'
says damaged 'checkpoint_fallback .*step-000000004'
[ "$(field damaged digest)" = "$digest" ] || fail "damaged: another digest after falling back to step 4"
[ "$(wc -l <"$WORK/damaged/metrics.jsonl")" = 12 ] || fail "damaged: $(wc -l <"$WORK/damaged/metrics.jsonl") lines of metrics"

# No good one left is an error, not a fresh start; --fresh twice keeps the old run aside.
truncate -s 5000 "$(shard lost 08)"
rm "$(shard lost 04)"
ends 15 lost --set lockstep.max_restarts=0
says lost '^lockstep: .*all 2 checkpoints are damaged'
ends 0 lost --fresh --fresh
says lost "run_set_aside from=$WORK/lost to=$WORK/lost.old-"
[ "$(field lost digest)" = "$digest" ] || fail "lost: another digest after --fresh"
ls "$WORK"/lost.old-*/checkpoints/step-000000008/manifest.json >/dev/null 2>&1 || fail "lost: the old run is gone"

# A full disk: training goes on to its end, the exit code tells, what was saved is good.
mkdir "$WORK/small"
if mount -t tmpfs -o size=24m tmpfs "$WORK/small" 2>/dev/null; then
    CLEANUP+=("umount '$WORK/small' 2>/dev/null")
    ends 15 small/run --set meta.keep_last=9
    says small/run '^lockstep: .*No space left on device'
    [ "$(wc -l <"$WORK/small/run/metrics.jsonl")" = 12 ] || fail "full disk: training stopped at step $(wc -l <"$WORK/small/run/metrics.jsonl")"
    "$lockstep" verify "$WORK/small/run" >"$WORK/log" 2>&1 || fail "full disk: $(head -1 "$WORK/log")"
    grep -q ", all good$" "$WORK/log" || fail "full disk: $(tail -1 "$WORK/log")"
    mount -o remount,size=100m "$WORK/small"
    ends 0 small/run
    [ "$(field small/run digest)" = "$digest" ] || fail "full disk: another digest after there was room again"
fi

# No room for one save while it trains: it is tried again, once (file_systems.sh has the real file systems).
LS_FAULT=fail:fsync:1:1:1 ends 0 late --set optimization.steps=90 --set meta.save_freq_steps=39
says late 'checkpoint not_saved failed_in_row=1 .*next_try_after_step=.*No space left on device'
saved=$(sed -n 's/.*checkpoint saved .*finished_steps=\([0-9]*\) .*/\1/p' "$WORK/late.log" | tr '\n' ' ')
before=0
for step in $saved; do
    [ "$step" -gt $((before + 1)) ] || fail "room again: saved after step $before and again after $step"
    before=$step
done
if [ "$before" != 90 ] || [ "${saved%% *}" -ge 78 ]; then fail "room again: saved after the steps $saved"; fi

# The save that a run ends with is tried more than once.
LS_FAULT=fail:fsync:1:1:1 ends 0 end --set optimization.steps=3
says end 'checkpoint not_saved try=1 of=3: .*No space left on device'
[ "$(field end step)" = 3 ] || fail "the last save: after step $(field end step)"

# A file system that is slower than ranks may take to find each other: the checkpoint is awaited.  Where this machine is so
# busy that they have not found each other in time, nothing is shown, and they try again.
ends 75 slow --stop-at 4
for tries in 1 2 3 4 5; do
    code=0
    LS_FAULT=pause:read:1:0:$((tries + 1)) train slow --set lockstep.start_timeout_s=4 --set lockstep.max_restarts=0 || code=$?
    if [ "$code" != 14 ] || ! grep -q 'did_not_arrive .*phase=start' "$WORK/slow.log"; then break; fi
done
[ "$code" = 0 ] || fail "slow: exit code $code after $tries tries: $(tail -2 "$WORK/slow.log")"
[ "$(field slow digest)" = "$digest" ] || fail "slow: another digest"

# Saves by the clock.
ends 0 timed --set meta.save_interval=minutes --set meta.save_freq_minutes=0.0001
says timed 'checkpoint saved .*finished_steps=[1-9] .*stood_still_ms='
[ "$(field timed digest)" = "$digest" ] || fail "saves by the clock: another digest"

# A killed worker: named; without restarts the run ends and can be started again.
train killed --set lockstep.max_restarts=0 --set optimization.steps=1000000 --set optimization.ipe_scale=1 &
job=$!
wait_for killed 'checkpoint saved .*finished_steps=8 '
kill -9 "$(workers_of killed | tail -1)"
code=0
wait "$job" || code=$?
[ "$code" = 13 ] || fail "killed worker: exit code $code: $(tail -1 "$WORK/killed.log")"
says killed '^lockstep: rank [01] on node .* was ended by signal 9 (Killed)'
[ -z "$(workers_of killed)" ] || fail "killed worker: workers are left"

# With restarts it goes on by itself.
LS_FAULT=kill:step:11:1:1 ends 75 again --set optimization.steps=400 --stop-at 24
says again 'workers_lost rank 1 .*restart=1 of=3'
[ "$(field again step)" = 24 ] || fail "restart: ended at step $(field again step)"
[ "$(cat "$WORK/again/run-epoch")" = 2 ] || fail "restart: $(cat "$WORK/again/run-epoch") starts"

# A killed launcher: its workers save at the end of the step and leave; the folder is free again.
"$lockstep" train configs/demo.yaml -n 2 --set "folder=$WORK/orphan" \
    --set "data.datasets=[$WORK/videos/LIST.csv]" --set "data.packed_folder=$WORK/packed" \
    --set optimization.steps=1000000 >"$WORK/orphan.log" 2>&1 &
job=$!
wait_for orphan 'step 4/'
kill -9 "$job"
wait "$job" 2>/dev/null
for _ in $(seq 600); do
    [ -z "$(workers_of orphan)" ] && break
    sleep 0.2
done
[ -z "$(workers_of orphan)" ] || fail "killed launcher: its workers live on"
[ "$(field orphan step)" -ge 4 ] || fail "killed launcher: nothing was saved"

# Cancelled: it saves, ends as on a first Ctrl-C, and says so.
train cancelled --set optimization.steps=1000000 &
job=$!
wait_for cancelled 'step 4/'
for tries in $(seq 600); do
    "$lockstep" status "$WORK/cancelled" >"$WORK/log" 2>&1 || :
    grep -q '^state *running since .*: 2 of 2 workers' "$WORK/log" && break
    [ "$tries" -lt 600 ] || fail "status does not say running: $(grep '^state' "$WORK/log")"
    sleep 0.1
done
"$lockstep" cancel "$WORK/cancelled" >"$WORK/log" 2>&1 || fail "cancel: exit code $?: $(cat "$WORK/log")"
code=0
wait "$job" || code=$?
[ "$code" = 75 ] || fail "cancelled: exit code $code: $(tail -1 "$WORK/cancelled.log")"
"$lockstep" status "$WORK/cancelled" | grep -q '^state *stopped since ' || fail "status does not say stopped"
"$lockstep" status "$WORK/cancelled" --json | grep -q "\"saved_step\":$(field cancelled step)}" || fail "status --json does not know the step"

# A changed config: told, or refused where weights cannot follow.
ends 2 whole --set model.depth=3
says whole "the run has model.depth 2, the config now says 3"
ends 0 whole --set optimization.steps=14
says whole 'config_changed .* 12 -> 14'
[ "$(field whole step)" = 14 ] || fail "whole: did not go on to step 14"
pass "damage, full disk, killed worker and launcher, cancel, changed config"
