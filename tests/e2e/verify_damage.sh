#!/usr/bin/env bash
# `lockstep verify` finds every flipped byte of a dataset and names the file; cut, missing and foreign files too.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
lockstep=$BUILD/lockstep
for program in "$lockstep" "$BUILD/tools/motion_videos"; do need_program "$program"; done

"$BUILD/tools/motion_videos" -o "$WORK/videos" --count 8 >"$WORK/log" 2>&1 || fail "no videos: $(tail -1 "$WORK/log")"
"$lockstep" pack "$WORK/videos" -o "$WORK/dataset" >"$WORK/log" 2>&1 || fail "no dataset: $(tail -1 "$WORK/log")"
"$lockstep" verify "$WORK/dataset" >"$WORK/log" 2>&1 || fail "a good dataset: $(tail -1 "$WORK/log")"

# expect_damage FILE WHAT: verify ends with 1 and names the file; reading it ends with 11 and one line.
expect_damage() {
    local code=0
    "$lockstep" verify "$WORK/dataset" >"$WORK/log" 2>&1 || code=$?
    [ "$code" = 1 ] || fail "$2: verify ended with $code"
    grep -q "$1" "$WORK/log" || fail "$2: verify does not name $1: $(tail -1 "$WORK/log")"
}

flip() { # FILE OFFSET: invert one bit of a byte
    /usr/bin/python3 -c 'import sys
f = open(sys.argv[1], "r+b"); f.seek(int(sys.argv[2])); b = f.read(1)[0]
f.seek(int(sys.argv[2])); f.write(bytes([b ^ (1 << int(sys.argv[3]))]))' "$1" "$2" "$3"
}

RANDOM=7
for name in shard-00000.h5 index.h5; do
    file=$WORK/dataset/$name
    size=$(stat -c %s "$file")
    offsets="0 1 $((size / 2)) $((size - 41)) $((size - 40)) $((size - 1))"
    for _ in $(seq 60); do offsets="$offsets $(((RANDOM * 32768 + RANDOM) % size))"; done
    for offset in $offsets; do
        bit=$((RANDOM % 8))
        flip "$file" "$offset" "$bit"
        expect_damage "$name" "$name, byte $offset"
        flip "$file" "$offset" "$bit"
    done
done
"$lockstep" verify "$WORK/dataset" >"$WORK/log" 2>&1 || fail "mended again: $(tail -1 "$WORK/log")"

refused() { # FILE WHAT: opening it for training is one line that names the file, exit code 10 or 11
    local code=0
    "$lockstep" train configs/demo.yaml --set "folder=$WORK/run" --set "data.datasets=[$WORK/dataset]" >"$WORK/log" 2>&1 || code=$?
    [ "$code" = 11 ] || [ "$code" = 10 ] || fail "$2: train ended with $code: $(tail -1 "$WORK/log")"
    [ "$(grep -c '^lockstep: ' "$WORK/log")" = 1 ] || fail "$2: not one line: $(cat "$WORK/log")"
    grep -q "^lockstep: .*$1" "$WORK/log" || fail "$2: does not name $1: $(tail -1 "$WORK/log")"
}
cp -r "$WORK/dataset" "$WORK/good"
truncate -s -1 "$WORK/dataset/shard-00000.h5"
expect_damage shard-00000.h5 "a shard that is cut off"
refused shard-00000.h5 "a shard that is cut off"
rm "$WORK/dataset/shard-00000.h5"
expect_damage shard-00000.h5 "a missing shard"
refused shard-00000.h5 "a missing shard"
cp "$WORK/good/shard-00000.h5" "$WORK/dataset/"
truncate -s 100 "$WORK/dataset/index.h5"
refused index.h5 "an index that is cut off"
: >"$WORK/dataset/index.h5"
refused index.h5 "an empty index"
pass "132 flipped bits found, cut and missing files refused"
