#!/usr/bin/env bash
# What ptxas says of every kernel: registers, shared memory, stack and spills of a thread.
#
#   scripts/ptxas_report.sh LOG...     logs that the build keeps beside its objects (*.o.log, `-Xptxas -v`)
#
# Prints one line a kernel, sorted by file and name.  Exit status 1, with the kernels on stderr, where one spills
# registers or keeps an array on its stack, which is local memory; 2 where the logs hold no kernel.
set -euo pipefail

[ $# -gt 0 ] || { echo "ptxas_report.sh: no logs given" >&2; exit 2; }
lines=$(
    for log in "$@"; do
        file=${log##*/}
        awk -v file="${file%.o.log}.cu" '
            /Compiling entry function/ { split($0, part, "\x27"); kernel = part[2] }
            /bytes stack frame/ { stack = $1; stores = $5; loads = $9 }
            /: Used [0-9]+ registers/ {
                shared = 0
                for (i = 2; i <= NF; i++) {
                    if ($i == "registers,") registers = $(i - 1)
                    if ($i ~ /^smem/) shared = $(i - 2)
                }
                printf "%-14s %9d %12d %11d %12d %11d  %s\n", file, registers, shared, stack, stores, loads, kernel
            }' "$log"
    done | c++filt | sed 's/  void /  /; s/__nv_bfloat16/bf16/g; s/(.*//' | sort -k1,1 -k7
)
[ -n "$lines" ] || { echo "ptxas_report.sh: no kernel in $*: not logs of nvcc -Xptxas -v" >&2; exit 2; }
printf '%-14s %9s %12s %11s %12s %11s  %s\n' file registers shared_bytes stack_bytes spill_stores spill_loads kernel
echo "$lines"
bad=$(awk '$4 > 0 || $5 > 0 || $6 > 0' <<<"$lines")
[ -z "$bad" ] || { echo "these kernels use local memory:" >&2; echo "$bad" >&2; exit 1; }
