#!/usr/bin/env bash
# Four processes under mpirun share a pack, and so do the parts of a job array that run at the same time: what comes out
# is what one process makes, byte for byte.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
lockstep=$BUILD/lockstep
for program in "$lockstep" "$BUILD/tools/motion_videos"; do need_program "$program"; done

"$BUILD/tools/motion_videos" -o "$WORK/videos" --count 400 >"$WORK/log" 2>&1 || fail "no videos: $(tail -1 "$WORK/log")"
: >"$WORK/videos/empty.mp4"
pack=("$lockstep" pack "$WORK/videos" --shard-mb 1 --jobs 1)
"${pack[@]}" -o "$WORK/one" >"$WORK/log" 2>&1 || fail "one process: $(tail -1 "$WORK/log")"
shards=$(find "$WORK/one" -name 'shard-*.h5' | wc -l)
[ "$shards" -ge 3 ] || fail "only $shards shards: nothing to share"
alike() { diff -rq "$WORK/one" "$WORK/$1" >"$WORK/log" || fail "$1: $(head -2 "$WORK/log")"; }

ranks 4 120 "${pack[@]}" -o "$WORK/mpirun" >"$WORK/mpirun.log" 2>&1 || fail "mpirun: $(tail -1 "$WORK/mpirun.log")"
[ "$(grep -c ': 400 videos' "$WORK/mpirun.log")" = 4 ] || fail "mpirun: $(tail -1 "$WORK/mpirun.log")"
alike mpirun

# As SLURM starts an array of 3: in no order, all with the same list.
parts=()
for part in 3 1 2; do
    "${pack[@]}" -o "$WORK/array" --part "$part/3" >"$WORK/array-$part.log" 2>&1 &
    parts+=($!)
done
for process in "${parts[@]}"; do wait "$process" || fail "array: $(tail -qn 1 "$WORK"/array-*.log | head -1)"; done
alike array
pass "$shards shards by 4 processes, and by 3 parts"
