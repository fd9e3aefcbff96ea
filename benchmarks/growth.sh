#!/usr/bin/env bash
# How time and memory of a step grow with tokens, width, batch and workers, beside the law that should hold for time: the
# FLOPs of the step (counted from the true tokens of both masks, bench_step's own count) at the rate of the curve's first
# case.  Workers have one thread and one micro-batch each: time should stay while there are cores, then grow with workers
# over cores (with the cpu clock: stay).
#
#   benchmarks/growth.sh [RESULT_PREFIX]       writes RESULT_PREFIX.md, .csv and .png (benchmarks/results/growth)
#
# THREADS (all), SECONDS_EACH (4) and CLOCK (wall; cpu on a machine that others use) can be set.  Needs gnuplot.
set -euo pipefail
cd "$(dirname "$0")/.."
BUILD=${BUILD:-build}
THREADS=${THREADS:-$(nproc)} SECONDS_EACH=${SECONDS_EACH:-4} CLOCK=${CLOCK:-wall}
result=${1:-benchmarks/results/growth}
work=$(mktemp -d /tmp/lockstep-growth.XXXXXX)
trap 'rm -rf "$work"' EXIT
export OMP_WAIT_POLICY=passive

tokens_of() { # FRAMES PIXELS, which are multiples of 2 and 16
    echo $(($1 * $2 * $2 / 512))
}

# One case: curve, where on its axis, then ms, GFLOP, MiB and tokens of a clip.
measure() { # CURVE X DIMxDEPTHxHEADS FRAMES PIXELS CLIPS
    "$BUILD/benchmarks/bench_step" --threads "$THREADS" --seconds "$SECONDS_EACH" --clock "$CLOCK" \
        --like "$3:$4x$5:$6" 2>"$work/log" >"$work/out" || { cat "$work/log" >&2; exit 1; }
    awk -v curve="$1" -v x="$2" -v tokens="$(tokens_of "$4" "$5")" '
        /^own / { for (i = 1; i <= NF; i++) {
                      if ($i == "ms" && !ms) ms = $(i - 1)
                      if ($i == "GFLOP/s" && !rate) rate = $(i - 1)
                      if ($i == "MiB") mib = $(i - 1) }
                  printf "%s,%s,%s,%.2f,%s,%s\n", curve, x, ms, rate * ms / 1000, mib, tokens }' "$work/out" |
        tee -a "$work/growth.csv"
}

echo "curve,x,ms,gflop,mib,tokens" >"$work/growth.csv"
for size in "16 112" "32 112" "64 112" "16 160" "16 224" "16 288" "16 384"; do
    read -r frames pixels <<<"$size"
    measure tokens "$(tokens_of "$frames" "$pixels")" 96x4x2 "$frames" "$pixels" 1
done
for width in 96 192 384 768; do measure width "$width" "${width}x4x$((width / 48))" 16 112 1; done
for clips in 1 2 4 8; do measure batch "$clips" 96x4x2 16 112 "$clips"; done

# One worker's micro-batch each, with the all-reduce of all.
measure_workers() { # WORKERS DIMxDEPTHxHEADS FRAMES PIXELS CLIPS
    mpirun --oversubscribe --bind-to none -n "$1" "$BUILD/benchmarks/bench_workers" --seconds "$SECONDS_EACH" \
        --clock "$CLOCK" --like "$2:$3x$4:$5" 2>"$work/log" >"$work/out" || { cat "$work/log" >&2; exit 1; }
    tail -n 1 "$work/out" | tr -d '{}"' | tr ',' '\n' | awk -F': *' -v x="$1" -v tokens="$(tokens_of "$3" "$4")" '
        { gsub(/ /, "", $1); value[$1] = $2 }
        END { printf "workers,%s,%s,%.2f,%s,%s\n", x, value["ms"], value["gflop"], value["peak_mib"], tokens }' |
        tee -a "$work/growth.csv"
}
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
for workers in 1 2 4; do measure_workers "$workers" 96x4x2 16 112 1; done

# Law: the FLOPs of the case over the rate of the curve's first case.
awk -F, -v OFS=, -v clock="$CLOCK" -v cores="$(nproc)" 'NR == 1 { print $0, "law_ms"; next }
    !($1 in rate) { rate[$1] = $4 / $3 }
    $1 == "workers" { share = clock == "cpu" ? 1 : ($2 > cores ? $2 / cores : 1); first[$1] = first[$1] ? first[$1] : $3
                      print $0, sprintf("%.2f", first[$1] * share); next }
    { print $0, sprintf("%.2f", $4 / rate[$1]) }' "$work/growth.csv" >"$work/with_law.csv"

mkdir -p "$(dirname "$result")"
cp "$work/with_law.csv" "$result.csv"
for curve in tokens width batch workers; do
    awk -F, -v c="$curve" '$1 == c { print $2, $3, $7, $5 }' "$result.csv" | sort -n >"$work/$curve.dat"
done
gnuplot <<EOF
set terminal pngcairo size 1560,720 font "sans,10"
set output "$result.png"
set multiplot layout 2,4 title "One training step: measured, and the law (FLOPs at the rate of the smallest case)"
set key top left
set logscale xy
set xlabel "tokens of a clip"; set ylabel "ms"
plot "$work/tokens.dat" u 1:2 w lp pt 7 t "measured", "" u 1:3 w l dt 2 t "law"
set xlabel "width of the encoder"
plot "$work/width.dat" u 1:2 w lp pt 7 t "measured", "" u 1:3 w l dt 2 t "law"
set xlabel "clips a micro-batch"
plot "$work/batch.dat" u 1:2 w lp pt 7 t "measured", "" u 1:3 w l dt 2 t "law"
set xlabel "workers of one thread"
plot "$work/workers.dat" u 1:2 w lp pt 7 t "measured", "" u 1:3 w l dt 2 t "law"
set ylabel "MiB (peak of the process)"
set xlabel "tokens of a clip"
plot "$work/tokens.dat" u 1:4 w lp pt 7 t "measured"
set xlabel "width of the encoder"
plot "$work/width.dat" u 1:4 w lp pt 7 t "measured"
set xlabel "clips a micro-batch"
plot "$work/batch.dat" u 1:4 w lp pt 7 t "measured"
set xlabel "workers of one thread"
plot "$work/workers.dat" u 1:4 w lp pt 7 t "of one worker"
EOF
{
    echo "# Growth of a step"
    echo
    echo "\`benchmarks/growth.sh\`, $(date -u +%Y-%m-%d), commit $(git describe --always --dirty)," \
        "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $THREADS threads, $CLOCK clock, float32;" \
        "encoder 96 x 4 blocks (2 heads), the public predictor (384 x 12), 1 clip of 16 x 112 unless the row says otherwise."
    echo
    echo "| curve | at | ms | law, ms | measured / law | GFLOP | MiB |"
    echo "| --- | --- | --- | --- | --- | --- | --- |"
    awk -F, 'NR > 1 { printf "| %s | %s | %.1f | %.1f | %.2f | %.1f | %d |\n", $1, $2, $3, $7, $3 / $7, $4, $5 }' "$result.csv"
} >"$result.md"
cat "$result.md"
