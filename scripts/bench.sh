#!/usr/bin/env bash
# Runs the benchmarks one after the other and says on what they ran.
#
#   scripts/bench.sh [NAME...]     NAME: benchmarks/bench_NAME.c; default: all but checkpoint, allreduce, count, predict and workers
set -euo pipefail
cd "$(dirname "$0")/.."

BUILD=${BUILD:-build}
names=("$@")
if [ $# = 0 ]; then
    mapfile -t names < <(find benchmarks -name 'bench_*.c' ! -name bench_checkpoint.c ! -name bench_allreduce.c ! -name bench_count.c ! -name bench_predict.c ! -name bench_workers.c | sed 's|.*/bench_||; s|\.c$||' | sort)
fi
export OMP_WAIT_POLICY=passive

echo "machine: $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(nproc) cores, $(awk '/MemTotal/ { printf "%.0f GiB", $2 / 1048576 }' /proc/meminfo)"
echo "date: $(date -u +%Y-%m-%d), commit: $(git describe --always --dirty 2>/dev/null || echo unknown), compiler: $(gcc --version | head -n 1)"
for name in "${names[@]}"; do
    printf '\n$ %s\n' "$BUILD/benchmarks/bench_$name"
    "$BUILD/benchmarks/bench_$name"
done
