#!/usr/bin/env bash
# Times `lockstep pack` with 1 and 2 worker processes, in turn: `make bench-pack` (ROUNDS 3, VIDEOS the shared folders).
#
#   scripts/bench_pack.sh     needs build/lockstep
#
# Each pack gets as many cores as it has workers.  Medians over rounds; beside the wall time the processor time of all
# processes, which tells what waits, and how long the dearest file alone takes.  Goes to benchmarks/results/pack.md.
set -euo pipefail
cd "$(dirname "$0")/.."
BUILD=${BUILD:-build}
ROUNDS=${ROUNDS:-3}
SHARED=${SHARED:-../shared}
read -ra videos <<<"${VIDEOS:-$SHARED/videos/clean $SHARED/videos/awkward $SHARED/videos/labelled}"
result=benchmarks/results/pack.md
work=$(mktemp -d "${TMPDIR:-/tmp}/lockstep-bench-pack.XXXXXX")
trap 'rm -rf "$work"' EXIT
mapfile -t cores < <(taskset -cp $$ | sed 's/.*: //' | tr ',' '\n' | awk -F- '{ for (c = $1; c <= (NF > 1 ? $2 : $1); c++) print c }')
[ ${#cores[@]} -ge 2 ] || { echo "bench-pack: needs two cores"; exit 1; }

# pack NAME JOBS SOURCE...: one line, wall and processor seconds.
pack() {
    local name=$1 jobs=$2 mine
    shift 2
    mine=$(IFS=,; echo "${cores[*]:0:jobs}")
    rm -rf "$work/dataset"
    TIMEFORMAT='%R %U %S'
    { time taskset -c "$mine" "$BUILD/lockstep" pack "$@" -o "$work/dataset" --jobs "$jobs" >"$work/log" 2>&1; } 2>"$work/time" ||
        { tail -n 3 "$work/log"; exit 1; }
    awk '{ print $1, $2 + $3 }' "$work/time" >>"$work/$name"
}
median() { awk -v c="$2" '{ print $c }' "$work/$1" | sort -n | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }

pack warm 2 "${videos[@]}" # the files come into memory
report=$(tail -n +2 "$work/dataset/pack-report.csv" | awk -F, '{ n++; ok += /,ok,/ } END { print n " files, " ok " packed" }')
for round in $(seq "$ROUNDS"); do
    for jobs in 1 2; do pack "jobs$jobs" "$jobs" "${videos[@]}"; done
    echo "bench-pack: round $round of $ROUNDS"
done
{
    echo "# Packing with one and two worker processes"
    echo
    echo "\`make bench-pack\`, $(date -u +%Y-%m-%d), commit $(git describe --always --dirty 2>/dev/null || echo unknown)," \
        "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1); $report; medians of $ROUNDS rounds, in turn." \
        "Load of the machine then: $(cut -d ' ' -f 1 /proc/loadavg)."
    echo
    echo "| worker processes | wall time | processor time | times as fast |"
    echo "| --- | --- | --- | --- |"
    for jobs in 1 2; do
        awk -v j="$jobs" -v w="$(median "jobs$jobs" 1)" -v c="$(median "jobs$jobs" 2)" -v one="$(median jobs1 1)" \
            'BEGIN { printf "| %d | %.1f s | %.1f s | %.2f |\n", j, w, c, one / w }'
    done
} >"$work/result.md"
cat "$work/result.md"
cp "$work/result.md" "$result"
