#!/usr/bin/env bash
# Fuzzes the readers of packed datasets and of lists: `make fuzz` (FUZZ_SECONDS a target, 60).
#
#   scripts/fuzz.sh [TARGET...]     list index shard hdf5 tables decode; default: all, one after the other
#
# clang with libFuzzer, ASan and UBSan; seeds are made by build/tools/fuzz_seeds.  What has been tried stays in
# BUILD/fuzz/work/corpus; what fails goes to BUILD/fuzz/work/found, and the script then ends with 1.  HDF5 and FFmpeg are not
# instrumented, but ASan sees their memory; HDF5 runs in a process of its own.
set -euo pipefail
cd "$(dirname "$0")/.."
BUILD=${BUILD:-build}
FUZZ_SECONDS=${FUZZ_SECONDS:-60}
[ $# -gt 0 ] || set -- list index shard hdf5 tables decode
folder=$BUILD/fuzz/work
mkdir -p "$folder/found" "$folder/logs"
[ -d "$folder/seeds" ] || "$BUILD/tools/fuzz_seeds" "$folder/seeds"
export ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1:handle_abort=1 UBSAN_OPTIONS=print_stacktrace=1

failed=0
for target; do
    mkdir -p "$folder/corpus/$target"
    code=0
    limit=1048576
    [ "$target" != list ] || limit=4096
    nice -n 19 "$BUILD/fuzz/fuzz_$target" -max_total_time="$FUZZ_SECONDS" -timeout=60 -rss_limit_mb=2048 \
        -max_len=$limit -print_final_stats=1 -artifact_prefix="$folder/found/$target-" \
        "$folder/corpus/$target" "$folder/seeds/$target" >"$folder/logs/$target" 2>&1 || code=$?
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$folder/logs/$target" | tail -n 1)
    echo "fuzz: $target: ${runs:-0} inputs in ${FUZZ_SECONDS} s: $([ $code = 0 ] && echo "nothing found" || echo "FAILED, see $folder/logs/$target")"
    [ $code = 0 ] || failed=1
done
exit $failed
