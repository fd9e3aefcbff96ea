#!/usr/bin/env bash
# Every shown frame of the real files has ffmpeg's native planes, in order and at random access.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
lockstep=$BUILD/lockstep
need_program "$lockstep"
need_shared videos/clean
clean=$SHARED/videos/clean

"$lockstep" pack "$clean" -o "$WORK/dataset" --jobs 2 >"$WORK/log" 2>&1 || fail "pack: $(tail -1 "$WORK/log")"
files=0
frames=0
random=0
for reference in "$SHARED"/videos/framemd5/*.native.txt; do
    name=$(basename "$reference" .native.txt)
    [ -f "$clean/$name" ] || continue
    listed=$(sed -n "s|^\([^,]*/$name\),ok,.*|\1|p" "$WORK/dataset/pack-report.csv")
    [ -n "$listed" ] || fail "$name: not packed"
    grep -v '^#' "$reference" | sed 's/.*, *//' >"$WORK/wanted"
    wanted=$(wc -l <"$WORK/wanted")
    # Every frame of a large picture by itself takes minutes: FRAMEMD5_ALL=1 does them too.
    orders=("")
    [ "$(stat -c %s "$clean/$name")" -gt 520000 ] && [ -z "${FRAMEMD5_ALL:-}" ] ||
        orders+=(--random)
    for order in "${orders[@]}"; do
        # Only the frames that the reference has are decoded: head ends the program early.
        # shellcheck disable=SC2086 # no order is no word
        "$lockstep" inspect "$WORK/dataset" --video "$listed" --framemd5 $order 2>"$WORK/log" |
            grep -v '^#' | sed -u 's/.*, *//' | head -n "$wanted" >"$WORK/found"
        cmp -s "$WORK/found" "$WORK/wanted" ||
            fail "$name $order: $(diff "$WORK/found" "$WORK/wanted" | grep -c '^>') of $wanted frames differ"
    done
    files=$((files + 1))
    random=$((random + ${#orders[@]} - 1))
    frames=$((frames + wanted))
done
[ "$files" -ge 20 ] || fail "only $files files"
pass "$frames frames of $files files in order, those of $random files at random too"
