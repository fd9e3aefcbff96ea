#!/usr/bin/env bash
# Videos and images, clips of two lengths, weights, frames by time, a moving crop that is not square and erasing in one
# run: one and three workers draw alike and lose alike.
# shellcheck source=tests/e2e/lib_train.sh
. "$(dirname "$0")/lib_train.sh"
need_shared videos/awkward
awkward=$SHARED/videos/awkward
steps=8
pack() { "$lockstep" pack "${@:2}" -o "$WORK/$1" >"$WORK/pack.log" 2>&1 || fail "pack: $(tail -1 "$WORK/pack.log")"; }
pack clean "$SHARED"/videos/clean/{bear_vp9.webm,ucf_archery.avi}
pack turned "$awkward"/{fps240.mp4,h264_live_no_duration.webm,resolution_change.ts}
pack images "$awkward"/{photo.avif,photo_cmyk.jpg,picture_palette.png}
for workers in 1 3; do
    train_all "of$workers" "$workers" --set "data.datasets=[$WORK/clean,$WORK/turned,$WORK/images]" \
        --set "data.dataset_fpcs=[8,16,8]" --set "data.datasets_weights=[0.5,0.3,0.2]" --set "data.crop_size=[64,128]" \
        --set data.sampling=timestamps --set data_aug.motion_shift=true --set data_aug.reprob=0.25
done
values() { grep -o "\"$2\":[^,}]*" "$WORK/$1/metrics.jsonl"; }
[ "$(values of1 draw_hash)" = "$(values of3 draw_hash)" ] || fail "one and three workers draw other clips"
paste -d: <(values of1 loss) <(values of3 loss) |
    awk -F: '{ d = $2 - $4; if (d < 0) d = -d; if (d > 1e-5 * $4) exit 1; n++ } END { exit n != 8 }' ||
    fail "one and three workers have other losses"
pass "8 steps of 3 datasets"
