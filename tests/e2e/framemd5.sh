#!/usr/bin/env bash
# Every shown frame of the real files, ordinary and awkward, has ffmpeg's native planes, in order and at random access, and
# what cannot be used is skipped for the reason that its manifest says.
# FRAMEMD5_ALL=1: all frames of all files (labelled too), each by itself as well, and their RGB; half an hour.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
lockstep=$BUILD/lockstep
need_program "$lockstep"
need_shared videos/clean
need_shared videos/awkward
videos=$SHARED/videos
folders=("$videos/clean" "$videos/awkward")
least=45
if [ -n "${FRAMEMD5_ALL:-}" ]; then
    command -v ffmpeg >/dev/null || fail "all frames need the program ffmpeg"
    folders+=("$videos/labelled")
    least=195
fi
dataset=$WORK/dataset

"$lockstep" pack "${folders[@]}" -o "$dataset" --jobs 2 >"$WORK/log" 2>&1 || fail "pack: $(tail -1 "$WORK/log")"

# row NAME COLUMN: what the manifest says of a file.
row() { awk -F'\t' -v name="$1" -v column="$2" '$1 == name { print $column; exit }' "$videos/MANIFEST.tsv"; }
md5s() { sed -n '/^#/!s/.*, *//p'; }

# frames_of PATH [--random]: the MD5s of a packed video.
frames_of() { "$lockstep" inspect "$dataset" --video "$1" --framemd5 "${@:2}" 2>"$WORK/log" | md5s; }

# wanted_of PATH NAME: those that ffmpeg has, all of them or as many as there are references.
wanted_of() {
    if [ -n "${FRAMEMD5_ALL:-}" ]; then
        ffmpeg -v error -nostdin -threads 1 -noautorotate -i "file:$1" -map 0:V:0 -vsync passthrough -autoscale 0 \
            -f framemd5 - 2>/dev/null | md5s
    else
        md5s <"$videos/framemd5/$2.native.txt"
    fi
}

differ() { fail "$1: $(diff "$WORK/found" "$WORK/wanted" | grep -c '^>') of $(wc -l <"$WORK/wanted") frames differ"; }

files=0
frames=0
random=0
skipped=0
for folder in "${folders[@]}"; do
    for path in "$folder"/*; do
        name=$(basename "$path")
        case $(row "$name" 15) in
        skip*)
            grep -qF "$path,skipped," "$dataset/pack-report.csv" || fail "$name: not skipped"
            skipped=$((skipped + 1))
            continue
            ;;
        "") # not in the manifest: a list of labels, or a labelled video, which ffmpeg alone knows
            if [ -z "${FRAMEMD5_ALL:-}" ] || [[ $name == *.csv ]]; then continue; fi
            ;;
        esac
        [ -n "${FRAMEMD5_ALL:-}" ] || [ -e "$videos/framemd5/$name.native.txt" ] || continue
        wanted_of "$path" "$name" >"$WORK/wanted"
        wanted=$(wc -l <"$WORK/wanted")
        # Only the frames that are wanted are decoded: head ends the program early.
        frames_of "$path" | head -n "$((wanted + ${FRAMEMD5_ALL:-0}))" >"$WORK/found"
        cmp -s "$WORK/found" "$WORK/wanted" || differ "$name"
        [ -z "${FRAMEMD5_ALL:-}" ] || [[ "$(row "$name" 14)" =~ ^("$wanted")?$ ]] || fail "$name: $wanted frames, not $(row "$name" 14)"
        # Every frame of a large picture by itself takes minutes.
        if [ -n "${FRAMEMD5_ALL:-}" ] || { [ "$(stat -c %s "$path")" -le 120000 ] && [ "$wanted" -lt 64 ]; }; then
            frames_of "$path" --random | head -n "$((wanted + ${FRAMEMD5_ALL:-0}))" >"$WORK/found"
            cmp -s "$WORK/found" "$WORK/wanted" || differ "$name at random"
            random=$((random + 1))
        fi
        files=$((files + 1))
        frames=$((frames + wanted))
    done
done
[ "$files" -ge "$least" ] || fail "only $files files"
[ "$skipped" = 5 ] || fail "$skipped files are skipped, not 5"
if [ -n "${FRAMEMD5_ALL:-}" ]; then
    need_program "$BUILD/tools/shown_frames"
    /usr/bin/python3 tests/e2e/shown_frames.py "$BUILD/tools/shown_frames" "$dataset" >"$WORK/rgb" 2>&1 ||
        fail "$(tail -1 "$WORK/rgb")"
    tail -1 "$WORK/rgb"
fi
pass "$frames frames of $files files in order, those of $random files at random too, $skipped skipped"
