#!/usr/bin/env bash
# A dataset of stored frames gives the very clips that the packed videos give where frames are not made smaller, and is
# checked like any other.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
lockstep=$BUILD/lockstep
for program in "$lockstep" "$BUILD/tools/motion_videos"; do need_program "$program"; done

"$BUILD/tools/motion_videos" -o "$WORK/videos" --count 8 >"$WORK/log" 2>&1 || fail "no videos: $(tail -1 "$WORK/log")"
pack() { # DATASET [OPTION...]
    local dataset=$WORK/$1
    shift
    "$lockstep" pack "$WORK/videos" -o "$dataset" "$@" >"$WORK/log" 2>&1 || fail "no dataset: $(tail -1 "$WORK/log")"
    "$lockstep" verify "$dataset" >"$WORK/log" 2>&1 || fail "not good: $(tail -1 "$WORK/log")"
}
pack packets
pack frames --store frames
pack small --store frames --frame-side 48
"$lockstep" inspect "$WORK/frames" | grep -q '^codecs *rawvideo, 8' || fail "inspect: $("$lockstep" inspect "$WORK/frames" | grep codecs)"
"$lockstep" inspect "$WORK/small" | grep -q '48 to 48 wide' || fail "inspect: $("$lockstep" inspect "$WORK/small" | grep size)"

losses() { # DATASET: of 4 steps
    "$lockstep" train configs/demo.yaml -n 1 --device cpu --set "folder=$WORK/run-$1" --set "data.datasets=[$WORK/$1]" \
        --set tasks_per_node=2 --set model.depth=1 --set model.pred_depth=1 --set optimization.steps=4 --set optimization.warmup_steps=2 \
        --set 'data_aug.random_resize_scale=[0.3,1.0]' --set lockstep.threads=1 >"$WORK/log" 2>&1 || fail "$1: $(tail -1 "$WORK/log")"
    sed -n 's/.*"loss":\([^,]*\),.*/\1/p' "$WORK/run-$1/metrics.jsonl"
}
packets=$(losses packets) || exit 1
[ "$(wc -l <<<"$packets")" = 4 ] || fail "there are $(wc -l <<<"$packets") losses"
frames=$(losses frames) || exit 1
[ "$packets" = "$frames" ] || fail "losses on stored frames: $(tr '\n' ' ' <<<"$frames"), on packets: $(tr '\n' ' ' <<<"$packets")"
small=$(losses small) || exit 1
[ "$packets" != "$small" ] || fail "smaller frames give the same losses"

# A flipped byte in a stored frame is found.
shard=$WORK/frames/shard-00000.h5
printf '\377' | dd of="$shard" bs=1 seek=$(($(stat -c %s "$shard") / 2)) conv=notrunc 2>"$WORK/log" || fail "dd: $(tail -1 "$WORK/log")"
"$lockstep" verify "$WORK/frames" >"$WORK/log" 2>&1 && fail "a flipped byte is not found"
pass "losses of 4 steps on stored frames are those on packets"
