#!/usr/bin/env bash
# Instructions of one fixed training step, counted by callgrind: a slow-down of host code is seen whatever else the
# machine does.  `make bench-count`.
#
#   benchmarks/count.sh            counts, prints old and new by part, exit 1 where our own code grew by over 2 %
#   UPDATE=1 benchmarks/count.sh   also keeps the new count in benchmarks/results/instruction-count.txt
#
# valgrind knows no AVX-512, so kernels and oneDNN run their AVX2 forms.  A count is compared with one of the same
# compiler and oneDNN only.
set -euo pipefail
cd "$(dirname "$0")/.."

BUILD=${BUILD:-build}
kept=benchmarks/results/instruction-count.txt
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

OMP_NUM_THREADS=1 valgrind --tool=callgrind --collect-atstart=no --toggle-collect='counted_step*' \
    --callgrind-out-file="$folder/out" "$BUILD/benchmarks/bench_count" >"$folder/stdout" 2>"$folder/stderr" ||
    { tail -n 20 "$folder/stderr" >&2; exit 1; }

facts="$(gcc --version | sed -n 1p); $(valgrind --version); $(sed -n 's/.*\(onednn=[0-9.]*\).*/\1/p' "$folder/stderr"); $(cat "$folder/stdout")"
{
    echo "# Instructions of one fixed training step (benchmarks/bench_count.c), by make bench-count"
    echo "# $(date -u +%Y-%m-%d), commit $(git describe --always --dirty 2>/dev/null || echo unknown)"
    echo "# $facts"
    # A line without an object belongs to code of headers, inlined into ours.
    callgrind_annotate --auto=no --threshold=100 "$folder/out" 2>/dev/null |
        awk '/^ *[0-9,]+ \(.*%\)/ && !/PROGRAM TOTALS/ {
                 count = $1; gsub(",", "", count)
                 part = "ours"
                 if ($0 ~ /\[\?\?\?\]$/) part = "onednn-generated"
                 else if ($0 ~ /libdnnl[^\/]*\]$/) part = "onednn"
                 else if ($0 ~ /libgomp[^\/]*\]$/) part = "openmp"
                 else if ($0 ~ /\/(libc|libm|ld-linux)[^\/]*\]$/) part = "libc"
                 else if ($0 ~ /\.so[^\/]*\]$/) part = "others"
                 sum[part] += count; total += count
             }
             END { for (part in sum) printf "%-18s %12d\n", part, sum[part]; printf "%-18s %12d\n", "total", total }' | sort
} >"$folder/new"

cat "$folder/new"
status=0
if [ ! -e "$kept" ]; then
    echo "nothing to compare with: no $kept"
elif [ "$(sed -n 3p "$kept")" != "# $facts" ]; then
    echo "not compared with $kept, which is of: $(sed -n '3s/^# //p' "$kept")"
else
    awk 'FNR == NR { if (!/^#/) old[$1] = $2; next }
         !/^#/ && old[$1] { printf "%-18s %12d -> %12d  %+.2f %%\n", $1, old[$1], $2, 100 * ($2 / old[$1] - 1)
                            if ($1 == "ours" && $2 > 1.02 * old[$1]) worse = 1 }
         END { if (worse) { print "our own code does over 2 % more than kept; UPDATE=1 keeps the new count"; exit 1 } }' \
        "$kept" "$folder/new" || status=1
fi
if [ "${UPDATE-}" = 1 ]; then
    cp "$folder/new" "$kept"
    status=0
fi
exit $status
