#!/usr/bin/env bash
# A pack that is killed at random moments and started again loses nothing and packs nothing twice.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
lockstep=$BUILD/lockstep
for program in "$lockstep" "$BUILD/tools/motion_videos"; do need_program "$program"; done

"$BUILD/tools/motion_videos" -o "$WORK/videos" --count 120 >"$WORK/log" 2>&1 || fail "no videos: $(tail -1 "$WORK/log")"
printf 'not a video\n' >"$WORK/videos/text.mp4"
: >"$WORK/videos/empty.mp4"
"$lockstep" pack "$WORK/videos" -o "$WORK/once" --jobs 2 >"$WORK/log" 2>&1 || fail "undisturbed: $(tail -1 "$WORK/log")"

RANDOM=5
kills=0
for _ in $(seq 12); do
    "$lockstep" pack "$WORK/videos" -o "$WORK/often" --jobs 2 --shard-mb 1 >"$WORK/log" 2>&1 &
    packer=$!
    sleep "0.0$((RANDOM % 9))"
    kill -KILL "$packer" 2>/dev/null && kills=$((kills + 1))
    wait "$packer" 2>/dev/null
done
[ "$kills" -gt 0 ] || fail "nothing was killed"
"$lockstep" pack "$WORK/videos" -o "$WORK/often" --jobs 2 --shard-mb 1 >"$WORK/log" 2>&1 || fail "at last: $(tail -1 "$WORK/log")"
"$lockstep" verify "$WORK/often" >"$WORK/log" 2>&1 || fail "verify: $(tail -1 "$WORK/log")"

# The same files with the same result, each once; the shard column may differ.
for name in once often; do
    cut -d, -f1-13 "$WORK/$name/pack-report.csv" | sort >"$WORK/$name.rows"
done
cmp -s "$WORK/once.rows" "$WORK/often.rows" || fail "reports differ: $(diff "$WORK/once.rows" "$WORK/often.rows" | head -3)"
[ "$(grep -c ',ok,' "$WORK/often.rows")" = 120 ] || fail "$(grep -c ',ok,' "$WORK/often.rows") of 120 videos"
[ "$(grep -c ',skipped,' "$WORK/often.rows")" = 3 ] || fail "the list and the two files that are no videos"
[ "$(cut -d, -f1 "$WORK/often.rows" | sort | uniq -d | wc -l)" = 0 ] || fail "a file twice"
[ ! -e "$WORK/often/parts" ] || [ -z "$(ls -A "$WORK/often/parts")" ] || fail "parts are left"
[ -z "$(find "$WORK/often" -name '*tmp*')" ] || fail "unfinished files are left"

# A complete dataset stays as it is.
before=$(stat -c '%n %Y %s' "$WORK/often"/shard-*)
"$lockstep" pack "$WORK/videos" -o "$WORK/often" --jobs 2 --shard-mb 1 >"$WORK/log" 2>&1 || fail "once more: $(tail -1 "$WORK/log")"
[ "$(stat -c '%n %Y %s' "$WORK/often"/shard-*)" = "$before" ] || fail "a finished dataset was written again"
pass "$kills kills, 120 videos, 3 skipped"
