#!/usr/bin/env bash
# timeout: 60
# `lockstep show`: a picture of the promised size and a film of all frames, the same bytes from the same seed, of a video
# file, a packed one and a constant picture; stopped or given what it cannot use it leaves nothing and says why in one line.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
lockstep=$BUILD/lockstep
for program in "$lockstep" "$WORKER" "$BUILD/tools/motion_videos"; do need_program "$program"; done
"$BUILD/tools/motion_videos" -o "$WORK/videos" --count 4 --seed 3 >"$WORK/log" 2>&1 || fail "$(tail -1 "$WORK/log")"
"$lockstep" pack "$WORK/videos" -o "$WORK/set" >"$WORK/log" 2>&1 || fail "pack: $(tail -1 "$WORK/log")"
# shellcheck disable=SC2154 # set by lib.sh
"$lockstep" train configs/demo.yaml -n 1 "${device_options[@]}" --set "folder=$WORK/run" --set "data.datasets=[$WORK/set]" \
    --set tasks_per_node=1 --set optimization.steps=2 --set optimization.warmup_steps=1 --set model.depth=2 --set model.embed_dim=32 \
    --set model.num_heads=2 --set model.pred_embed_dim=32 --set model.pred_num_heads=2 --set model.pred_depth=1 \
    >"$WORK/log" 2>&1 || fail "train: $(tail -1 "$WORK/log")"
video=$(find "$WORK/videos" -name '*.mp4' | sort | head -1)

model=$WORK/run
draw() { # OUTPUT ARGUMENTS...
    timeout -k 5 50 "$lockstep" show "$model" "${@:2}" "${device_options[@]}" -o "$WORK/$1" >"$WORK/$1.log" 2>&1
}
png_size() { od -An -tu1 -j16 -N8 "$1" | awk '{ print $1 * 16777216 + $2 * 65536 + $3 * 256 + $4, $5 * 16777216 + $6 * 65536 + $7 * 256 + $8 }'; }

# Four tubelets in one band; from the file, from the dataset, and again: the same pixels.
draw a.png "$video" || fail "$(tail -1 "$WORK/a.png.log")"
[ "$(png_size "$WORK/a.png")" = "1148 728" ] || fail "a picture of $(png_size "$WORK/a.png")"
grep -q 'a.png: 8 frames of .*, 0 to 7; components hold .* of the variance; error of a hidden token 0\.[0-9]* over [0-9]* masks' \
    "$WORK/a.png.log" || fail "$(cat "$WORK/a.png.log")"
draw b.png "$WORK/set" --video '#0' || fail "$(tail -1 "$WORK/b.png.log")"
cmp -s "$WORK/a.png" "$WORK/b.png" || fail "the file and the packed video give other pictures"
draw c.png "$video" --seed 1 || fail "$(tail -1 "$WORK/c.png.log")"
cmp -s "$WORK/a.png" "$WORK/c.png" && fail "another seed hides other tokens, but the picture is the same"
# 9 tubelets of a video of 8 frames: two bands, the last frame again and again.
draw d.png "$video" --frames 18 --masks 1 || fail "$(tail -1 "$WORK/d.png.log")"
[ "$(png_size "$WORK/d.png")" = "1602 1306" ] || fail "two bands of $(png_size "$WORK/d.png")"
draw film.mp4 "$video" || fail "$(tail -1 "$WORK/film.mp4.log")"
"$lockstep" pack "$WORK/film.mp4" -o "$WORK/film" >"$WORK/log" 2>&1 || fail "the film cannot be packed: $(tail -1 "$WORK/log")"
"$lockstep" inspect "$WORK/film" --json | grep -q '"frames":8,"width":1024,"height":502,' ||
    fail "the film: $("$lockstep" inspect "$WORK/film" --json | grep -o '"list".*')"

# Every token of one colour.
{ printf 'P6 64 64 255\n' && head -c 12288 /dev/zero | tr '\0' '\200'; } >"$WORK/grey.ppm"
draw grey.png "$WORK/grey.ppm" || fail "a constant clip: $(tail -1 "$WORK/grey.png.log")"

refuse() { # STATUS PATTERN NAME ARGUMENTS...
    local status=0
    draw "$3" "${@:4}" || status=$?
    [ "$status" = "$1" ] || fail "$3: exit code $status, not $1: $(tail -1 "$WORK/$3.log")"
    [ "$(wc -l <"$WORK/$3.log")" = 1 ] || fail "$3: not one line: $(cat "$WORK/$3.log")"
    grep -q -e "$2" "$WORK/$3.log" || fail "$3: $(cat "$WORK/$3.log")"
    [ ! -e "$WORK/$3" ] || fail "$3 was written all the same"
}
head -c 300 "$video" >"$WORK/cut.mp4"
refuse 11 'cut.mp4: .*moov atom not found' cut.png "$WORK/cut.mp4"
refuse 10 'nowhere.mp4: no such video or dataset' no.png "$WORK/nowhere.mp4"
refuse 2 'has 4 videos: say which' which.png "$WORK/set"
refuse 2 'a picture is a .png, a film an .mp4' picture.gif "$video"
refuse 2 'begin at 0 at the latest' late.png "$video" --start 5
refuse 2 'multiples of 2 (its tubelet_size)' odd.png "$video" --frames 5
shard=$(find "$WORK/run/checkpoints/" -name 'shard-*.h5' -path '*step-*' | head -1)
cp "$shard" "$WORK/shard"
head -c 100000 "$WORK/shard" >"$shard"
model=$(dirname "$shard")
refuse 15 'shard-0000-of-0001.h5: 100000 bytes' shard.png "$video"
cp "$WORK/shard" "$shard"

# Stopped while it draws masks, which would take minutes.
draw stopped.png "$video" --frames 32 --size 128 --masks 1000 &
job=$!
for _ in $(seq 500); do
    [ -z "$(find "$WORK" -maxdepth 2 -path '*stopped.png.work-*' -name show.json)" ] || break
    sleep 0.02
done
kill -TERM "$(pgrep -P "$job" -f 'lockstep show' | head -1)" || fail "stopped.png: not there to be stopped"
code=0
wait "$job" || code=$?
[ "$code" = 75 ] || fail "stopped with exit code $code: $(tail -1 "$WORK/stopped.png.log")"
[ ! -e "$WORK/stopped.png" ] || fail "a stopped one wrote a picture"
left=$(find "$WORK" -maxdepth 1 -name '*.work-*' -o -maxdepth 1 -name '*.tmp-*')
[ -z "$left" ] || fail "left behind: $left"
pass "picture, film, a constant clip, a stop, six refusals"
