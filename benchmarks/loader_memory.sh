#!/usr/bin/env bash
# Resident memory of a loader over many clips, which must be flat and under 300 MB with 4 threads.
#
#   benchmarks/loader_memory.sh [RESULT_PREFIX]     writes RESULT_PREFIX.md, .csv, .png (benchmarks/results/loader-memory)
#
# CLIPS (20000), THREADS (4) and VIDEOS (folders; clean, awkward and labelled of ${SHARED:-../shared}/videos) can be set.
# What a clip takes while it is decoded comes and goes; a leak raises the lowest values.  So flat means: the lowest of the last
# quarter is at most 5 % above that of the second.  Needs gnuplot.
set -euo pipefail
cd "$(dirname "$0")/.."
BUILD=${BUILD:-build} SHARED=${SHARED:-../shared}
CLIPS=${CLIPS:-20000} THREADS=${THREADS:-4}
read -ra folders <<<"${VIDEOS:-$SHARED/videos/clean $SHARED/videos/awkward $SHARED/videos/labelled}"
result=${1:-benchmarks/results/loader-memory}
work=$(mktemp -d "${TMPDIR:-/tmp}/lockstep-memory.XXXXXX")
trap 'rm -rf "$work"' EXIT

"$BUILD/lockstep" pack "${folders[@]}" -o "$work/dataset" --jobs 2 >"$work/log" 2>&1 || { tail -n 3 "$work/log"; exit 1; }
videos=$(grep -c ',ok,' "$work/dataset/pack-report.csv")
mkdir -p "$(dirname "$result")"
"$BUILD/benchmarks/bench_loader_memory" "$work/dataset" "$CLIPS" "$THREADS" >"$work/memory.csv"
cp "$work/memory.csv" "$result.csv"

rows=$(($(wc -l <"$result.csv") - 1))
# Lowest and median of a quarter.
quarter() {
    tail -n +2 "$result.csv" | sed -n "$((rows * ($1 - 1) / 4 + 1)),$((rows * $1 / 4))p" | cut -d , -f 2 | sort -n |
        awk '{ v[NR] = $1 } END { print v[1], v[int((NR + 1) / 2)] }'
}
read -r early early_median < <(quarter 2)
read -r late late_median < <(quarter 4)
read -r last most < <(tail -n 1 "$result.csv" | awk -F , '{ print $1, $3 }')
growth=$(awk -v a="$early" -v b="$late" 'BEGIN { printf "%.1f", 100 * (b / a - 1) }')
gnuplot <<EOF
set terminal pngcairo size 900,480 font "sans,10"
set output "$result.png"
set datafile separator ","
set key bottom right
set title "A loader with $THREADS threads, 16 x 256 x 256, $videos files"
set xlabel "clips delivered"; set ylabel "MB"; set yrange [0:320]
plot "$result.csv" every ::1 u 1:2 w l lw 2 t "resident", "" every ::1 u 1:3 w l dt 2 t "most so far", 300 dt 3 t "goal"
EOF
verdict=holds
awk -v g="$growth" -v m="$most" 'BEGIN { exit !(g <= 5 && m <= 300) }' || verdict="does NOT hold"
cat >"$result.md" <<EOF
# Memory of a loader

\`benchmarks/loader_memory.sh\`, $(date -u +%Y-%m-%d), commit $(git describe --always --dirty 2>/dev/null || echo unknown): $last clips of 16 x 256 x 256 in
micro-batches of 8 from $videos packed files, $THREADS decode threads, in a process that does nothing else.

| resident MB | lowest | median |
| --- | --- | --- |
| second quarter | $early | $early_median |
| last quarter | $late ($growth %) | $late_median |

Most ever: $most MB.

Flat and under 300 MB: $verdict. Two micro-batches of pixels are 50 MB of it.

![curve]($(basename "$result").png)
EOF
echo "loader_memory: $last clips: $early MB, then $late MB ($growth %), most $most MB: $verdict"
[ "$verdict" = holds ]
