#!/bin/bash
# timeout: 240
# Checkpoints on a file system that becomes read-only, full, vanishes, comes back, is emptied, refuses for its quota or is
# slow: training goes on and saves again once it can, and ends with 15 after max_failed_saves failures in a row.
# shellcheck source=tests/e2e/lib_train.sh
if [ "${1:-}" != inside ]; then
    if [ "$(id -u)" != 0 ] || ! unshare -m true 2>/dev/null; then
        echo "file_systems: skipped: mounting needs root"
        exit 77
    fi
    exec unshare -m bash "$0" inside
fi
. "$(dirname "$0")/lib_train.sh"
pack_frames
run=$WORK/run
disk=$WORK/disk
mkdir -p "$run/checkpoints" "$disk"
mount -t tmpfs -o size=24m none "$disk" || skip "no tmpfs can be mounted here"
mount --bind "$disk" "$run/checkpoints" || skip "no folder can be mounted here"
CLEANUP+=("umount -l '$run/checkpoints' '$disk' 2>/dev/null")
steps=1000000 # never reached: the run is made to stop
options=(--set meta.save_freq_steps=4 --set lockstep.max_restarts=0 --set meta.keep_last=2
    --set optimization.warmup_steps=10 --set lockstep.save_timeout_s=30)

# told PATTERN [RUN]: wait for a new line of the log with it; lines before the last call do not count.
seen=0
told() {
    local tries
    for tries in $(seq 3000); do
        tail -n "+$((seen + 1))" "$WORK/run.log" 2>/dev/null | grep -q "$1" && { seen=$(wc -l <"$WORK/run.log"); return; }
        kill -0 "$job" 2>/dev/null || fail "the run ended ($tries looks) before '$1': $(tail -1 "$WORK/run.log")"
        sleep 0.05
    done
    fail "not told: $1"
}
saved() { told 'checkpoint saved'; told 'checkpoint saved'; } # the second began after what was mended
insist() { local try; for try in $(seq 200); do "$@" 2>/dev/null && return; sleep 0.02; done; fail "cannot ($try tries): $*"; }

train run 1 "${options[@]}" --set lockstep.max_failed_saves=1000000 &
job=$!
told 'checkpoint saved'
insist mount -o remount,ro "$disk"
told 'checkpoint not_saved failed_in_row=.*Read-only file system'
mount -o remount,rw "$disk"
saved

touch "$WORK/filling"
# What a deleted checkpoint frees is filled as well, until a save finds no room.
while [ -e "$WORK/filling" ]; do head -c 40M /dev/zero >>"$disk/filler"; sleep 0.02; done 2>/dev/null &
told 'checkpoint not_saved failed_in_row=.*No space left on device'
rm "$WORK/filling"
wait $! || fail "the disk could not be filled"
rm "$disk/filler"
saved

umount -l "$run/checkpoints"
told 'checkpoint not_saved failed_in_row=.*another file system than at the start lies there'
slipped=$(ls "$run/checkpoints") # of a save that was under way
told 'checkpoint not_saved'
told 'checkpoint not_saved'
[ "$(ls "$run/checkpoints")" = "$slipped" ] || fail "something was written where the file system was: $(ls "$run/checkpoints")"
mount --bind "$disk" "$run/checkpoints"
saved

insist find "$disk" -mindepth 1 -delete
told 'checkpoint folder_made_again'
saved
"$lockstep" verify "$run" >"$WORK/log" 2>&1 || fail "after its checkpoints were deleted: $(tail -1 "$WORK/log")"
code=0
kill -TERM "$(launcher_of run)"
wait "$job" || code=$?
[ "$code" = 75 ] || fail "stopped: exit code $code, not 75: $(tail -1 "$WORK/run.log")"

train run 1 "${options[@]}" --set lockstep.max_failed_saves=20 &
job=$!
saved
insist mount -o remount,ro "$disk"
code=0
wait "$job" || code=$?
[ "$code" = 15 ] || fail "read-only for good: exit code $code, not 15: $(tail -1 "$WORK/run.log")"
grep -q 'lockstep: .*Read-only file system' "$WORK/run.log" || fail "read-only for good: the last line is $(tail -1 "$WORK/run.log")"
done_before=$(steps_of run)
mount -o remount,rw "$disk"
for event in start saved not_saved; do
    grep -q "\"event\":\"$event\"" "$run/events.jsonl" || fail "no $event among the events"
done

# The next start goes on from its newest checkpoint.  Its first save meets a quota, the one after that a slow disk.
LS_FAULT=quota:write:2:0:3 train run 1 "${options[@]}" --stop-at $((done_before + 40)) || [ $? = 75 ] || fail "quota: $(tail -1 "$WORK/run.log")"
tail -n "+$((seen + 1))" "$WORK/run.log" | grep -q 'checkpoint not_saved .*Disk quota exceeded' || fail "the quota is not told"
tail -n "+$((seen + 1))" "$WORK/run.log" | grep -q 'checkpoint saved' || fail "nothing was saved after the quota"
LS_FAULT=pause:fsync:5:0:4 train run 1 "${options[@]}" --stop-at $((done_before + 120)) || [ $? = 75 ] || fail "slow: $(tail -1 "$WORK/run.log")"
grep -q 'checkpoint skipped step=.* reason=two_older_ones_are_still_being_written' "$WORK/run.log" || fail "a slow disk is not told"
steps=$((done_before + 120))
check_metrics run
"$lockstep" verify "$run" >"$WORK/log" 2>&1 || fail "at the end: $(tail -1 "$WORK/log")"
pass "read-only, full, vanished, deleted, quota, slow; $done_before steps until it gave up"
