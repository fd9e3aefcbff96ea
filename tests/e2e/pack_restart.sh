#!/usr/bin/env bash
# A pack whose launcher or workers are killed at random moments, and that is started again, makes the very files that an
# undisturbed one makes: nothing is lost and nothing packed twice.
# By hand, on real files: KILLS=20 VIDEOS="DIR DIR" PACK_OPTIONS="--gop 1 --dear 20" bash tests/e2e/pack_restart.sh
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
lockstep=$BUILD/lockstep
for program in "$lockstep" "$BUILD/tools/motion_videos"; do need_program "$program"; done
KILLS=${KILLS:-12}
read -ra options <<<"--jobs 2 --shard-mb 1 ${PACK_OPTIONS:-}"
read -ra videos <<<"${VIDEOS:-$WORK/videos}"

if [ -z "${VIDEOS:-}" ]; then
    "$BUILD/tools/motion_videos" -o "$WORK/videos" --count 300 >"$WORK/log" 2>&1 || fail "no videos: $(tail -1 "$WORK/log")"
    printf 'not a video\n' >"$WORK/videos/text.mp4"
    : >"$WORK/videos/empty.mp4"
fi
begin=$(date +%s%N)
"$lockstep" pack "${videos[@]}" -o "$WORK/once" "${options[@]}" >"$WORK/log" 2>&1 || fail "undisturbed: $(tail -1 "$WORK/log")"
span_ms=$((($(date +%s%N) - begin) / 1000000))

start() {
    "$lockstep" pack "${videos[@]}" -o "$WORK/often" "${options[@]}" >"$WORK/log" 2>&1 &
    packer=$!
}

# Whole: all files are those of the undisturbed pack, byte for byte.
check() {
    "$lockstep" verify "$WORK/often" >"$WORK/log" 2>&1 || fail "verify: $(tail -1 "$WORK/log")"
    diff -rq "$WORK/once" "$WORK/often" >"$WORK/log" || fail "after $kills kills: $(head -3 "$WORK/log")"
}

RANDOM=5
kills=0 launchers=0 whole=0
start
while [ "$kills" -lt "$KILLS" ]; do
    sleep "$(awk -v ms=$((RANDOM % (span_ms / 5 + 2))) 'BEGIN { print ms / 1000 }')"
    mapfile -t workers < <(pgrep -P "$packer")
    if [ $((RANDOM % 2)) = 0 ] && [ ${#workers[@]} -gt 0 ]; then
        kill -KILL "${workers[RANDOM % ${#workers[@]}]}" 2>/dev/null && kills=$((kills + 1))
    elif kill -KILL "$packer" 2>/dev/null; then
        wait "$packer" 2>/dev/null
        kills=$((kills + 1)) launchers=$((launchers + 1))
        start
    else
        # It had come to its end in between: check that, and begin a new one.
        wait "$packer" || fail "after $kills kills: $(tail -1 "$WORK/log")"
        whole=$((whole + 1))
        check
        rm -r "$WORK/often"
        start
    fi
done
wait "$packer" || fail "after the last kill: $(tail -1 "$WORK/log")"
check

rows=$WORK/once/pack-report.csv
if [ -z "${VIDEOS:-}" ]; then
    [ "$(grep -c ',ok,' "$rows")" = 300 ] || fail "$(grep -c ',ok,' "$rows") of 300 videos"
    [ "$(grep -c ',skipped,' "$rows")" = 3 ] || fail "the list and the two files that are no videos"
fi

# A complete dataset stays as it is.
before=$(stat -c '%n %Y %s' "$WORK/often"/shard-*)
"$lockstep" pack "${videos[@]}" -o "$WORK/often" "${options[@]}" >"$WORK/log" 2>&1 || fail "once more: $(tail -1 "$WORK/log")"
[ "$(stat -c '%n %Y %s' "$WORK/often"/shard-*)" = "$before" ] || fail "a finished dataset was written again"
pass "$kills kills, $launchers of the launcher; $((whole + 1)) whole packs alike: $(grep -c ',ok,' "$rows") videos, $(grep -c ',skipped,' "$rows") skipped"
