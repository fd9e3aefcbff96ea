#!/usr/bin/env bash
# The readers that docs/formats.md prints read a packed video's packets and a checkpoint's weights.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
lockstep=$BUILD/lockstep
for program in "$lockstep" "$BUILD/lockstep-worker" "$BUILD/tools/motion_videos"; do need_program "$program"; done
command -v ffprobe >/dev/null || skip "no ffprobe"
/usr/bin/python3 -c 'import h5py' 2>/dev/null || skip "no h5py"

"$BUILD/tools/motion_videos" -o "$WORK/videos" --count 12 >"$WORK/log" 2>&1 || fail "no videos: $(tail -1 "$WORK/log")"
"$lockstep" pack "$WORK/videos" -o "$WORK/dataset" >"$WORK/log" 2>&1 || fail "no dataset: $(tail -1 "$WORK/log")"
code=0
"$lockstep" train configs/demo.yaml -n 2 --stop-at 2 --set "folder=$WORK/run" --set "data.datasets=[$WORK/dataset]" \
    --set lockstep.threads=1 >"$WORK/log" 2>&1 || code=$?
[ "$code" = 75 ] || fail "training: exit code $code: $(tail -1 "$WORK/log")"

video=$(sed -n 2p "$WORK/dataset/pack-report.csv" | cut -d, -f1)
/usr/bin/python3 tests/e2e/read_formats.py docs/formats.md "$WORK/dataset" "$video" "$video" "$WORK/run/checkpoints/latest" \
    >"$WORK/log" 2>&1 || fail "made video: $(tail -1 "$WORK/log")"
said=$(cat "$WORK/log")

# Real files where they are: B-frames, packed B-frames, hidden packets.
clean=$SHARED/videos/clean
if [ -d "$clean" ]; then
    "$lockstep" pack "$clean/kinetics_a.mp4" "$clean/ucf_archery.avi" "$clean/bear_vp9.webm" -o "$WORK/real" >"$WORK/log" 2>&1 ||
        fail "real files: $(tail -1 "$WORK/log")"
    for name in kinetics_a.mp4 ucf_archery.avi bear_vp9.webm; do
        listed=$(sed -n "s|^\([^,]*$name\),.*|\1|p" "$WORK/real/pack-report.csv")
        /usr/bin/python3 tests/e2e/read_formats.py docs/formats.md "$WORK/real" "$listed" "$clean/$name" "$WORK/run/checkpoints/latest" \
            >"$WORK/log" 2>&1 || fail "$name: $(tail -1 "$WORK/log")"
    done
fi
pass "docs/formats.md is enough to read: $said"
