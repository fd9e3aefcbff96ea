#!/usr/bin/env bash
# The maker of the demo's videos: the same clips whatever the run and the share of the work, a list that fits, one line
# for what cannot be.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
# asan too
make_videos=$BUILD/tools/motion_videos
need_program "$make_videos"

"$make_videos" -o "$WORK/all" --count 24 --seed 3 >"$WORK/log" 2>&1 || fail "exit status $?: $(cat "$WORK/log")"
[ "$(find "$WORK/all" -name '*.mp4' | wc -l)" = 24 ] || fail "not 24 files"
awk -v n=0 '$2 != NR - 1 - 8 * int((NR - 1) / 8) { exit 1 } END { if (NR != 24) exit 1 }' "$WORK/all/LIST.csv" || fail "labels are not 0..7 in turn"
while read -r path _; do
    [ -s "$path" ] || fail "$path is in the list and not there"
    [ "$(stat -c %s "$path")" -lt 16000 ] || fail "$path has $(stat -c %s "$path") bytes"
done <"$WORK/all/LIST.csv"

# Another run, in two parts and with one thread, gives the same bytes.
OMP_NUM_THREADS=1 "$make_videos" -o "$WORK/half" --count 12 --seed 3 >/dev/null 2>&1
OMP_NUM_THREADS=1 "$make_videos" -o "$WORK/half" --count 12 --seed 3 --first 12 >/dev/null 2>&1
sums() { (cd "$1" && md5sum -- *.mp4); }
[ "$(sums "$WORK/all")" = "$(sums "$WORK/half")" ] || fail "the same clips have other bytes"

# What is there is kept, what is missing is made again.
before=$(stat -c %Y.%i "$WORK/all/motion-000005.mp4")
rm "$WORK/all/motion-000006.mp4"
"$make_videos" -o "$WORK/all" --count 24 --seed 3 >/dev/null 2>&1
[ "$(stat -c %Y.%i "$WORK/all/motion-000005.mp4")" = "$before" ] || fail "a file that was there was made again"
[ "$(sums "$WORK/all")" = "$(sums "$WORK/half")" ] || fail "a missing file was not made again"

refuse() { # STATUS PATTERN ARGUMENTS...
    local status=0
    "$make_videos" "${@:3}" >"$WORK/log" 2>&1 || status=$?
    [ "$status" = "$1" ] || fail "${*:3}: exit status $status, not $1"
    [ "$(wc -l <"$WORK/log")" = 1 ] || fail "${*:3}: not one line: $(cat "$WORK/log")"
    grep -q -e "$2" "$WORK/log" || fail "${*:3}: $(cat "$WORK/log")"
}
refuse 2 "--count: '3x'" -o "$WORK/x" --count 3x
refuse 2 'one folder is needed' --count 3
refuse 10 "$WORK/all/LIST.csv" -o "$WORK/all/LIST.csv/x" --count 3
pass "24 clips"
