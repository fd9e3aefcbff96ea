#!/bin/bash
# timeout: 180
# alone
# A pack as a job array under a real SLURM, each part in a job of its own: what comes out is what one process makes.
# shellcheck source=tests/cluster/lib_cluster.sh
. "$(dirname "$0")/lib_cluster.sh"
cluster_up
"$BUILD/tools/motion_videos" -o "$WORK/videos" --count 400 >"$WORK/log" 2>&1 || fail "motion_videos: $(tail -1 "$WORK/log")"
pack=("$lockstep" pack "$WORK/videos" --shard-mb 1 --jobs 1)
"${pack[@]}" -o "$WORK/one" >"$WORK/log" 2>&1 || fail "one process: $(tail -1 "$WORK/log")"
# shellcheck disable=SC2016 # SLURM's variables
{
    echo '#!/bin/bash'
    printf '%q ' "${pack[@]}" -o "$WORK/array"
    echo '--part "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT"'
} >"$WORK/pack.sbatch"
job=$(slurm sbatch --parsable --array=1-3 --output="$WORK/array-%a.log" "$WORK/pack.sbatch" 2>"$WORK/log") ||
    fail "sbatch: $(tail -1 "$WORK/log")"
# shellcheck disable=SC2317 # called by wait_until
ended() { [ -z "$(slurm squeue --noheader --jobs "$job" 2>/dev/null)" ]; }
wait_until 120 "the array's end" ended
diff -rq "$WORK/one" "$WORK/array" >"$WORK/log" || fail "$(head -2 "$WORK/log"); $(tail -qn 1 "$WORK"/array-*.log | tr '\n' ' ')"
pass "an array of 3 jobs"
