#!/usr/bin/env bash
# `make bench-checkpoint`: what a checkpoint of ViT-L costs, beside dd, torch.save and torch.distributed.checkpoint.
#
#   scripts/bench_checkpoint.sh [MODEL]      default: vit_large; 11 GB of disk, 16 GB of memory
#
# Each program writes the same number of bytes, and beside each save in turn a bare write and fsync of them; dd runs before
# and after.  The table goes to benchmarks/results/checkpoint.md.  Environment: FOLDER (BUILD) where to write, REPEATS (5).
set -euo pipefail
cd "$(dirname "$0")/.."
BUILD=${BUILD:-build}
MODEL=${1:-vit_large}
FOLDER=${FOLDER:-$BUILD}
REPEATS=${REPEATS:-5}
python=$(scripts/interop_python.sh)
bench=$BUILD/benchmarks/bench_checkpoint
work=$FOLDER/bench-checkpoint.$$
mkdir -p "$work"
trap 'rm -rf "$work"' EXIT
export OMP_WAIT_POLICY=passive

dd_line() { # BYTES: dd of that many from memory
    local megabytes=$(($1 / 1048576))
    sync
    dd if=/dev/zero of="$work/dd" bs=1M count="$megabytes" conv=fsync 2>&1 | tail -1 | sed 's/^/dd bs=1M conv=fsync of zeros: /'
    rm "$work/dd"
}

{
    echo "machine: $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(nproc) cores, $(awk '/MemTotal/ { printf "%.0f GiB", $2 / 1048576 }' /proc/meminfo), load $(cut -d ' ' -f 1 /proc/loadavg)"
    echo "date: $(date -u +%Y-%m-%d), commit: $(git describe --always --dirty 2>/dev/null || echo unknown), file system: $(df --output=fstype "$FOLDER" | tail -1)"
    "$bench" --model "$MODEL" --table "$work/table"
    bytes=$(awk '{ n += $2 * (3 + $3) } END { printf "%.0f", 4 * n }' "$work/table")
    dd_line "$bytes"
    echo
    echo "$ bench_checkpoint"
    "$bench" --model "$MODEL" --folder "$work" --repeats "$REPEATS"
    echo
    echo "$ torch_checkpoint.py"
    for what in save dcp async; do # a process each, so that the peak of memory is its own
        "$python" -W ignore benchmarks/torch_checkpoint.py "$work/table" "$work" "$REPEATS" "$what"
    done
    echo
    dd_line "$bytes"
} | tee "$work/out"
result=benchmarks/results/checkpoint.md
mkdir -p "$(dirname "$result")"
{
    echo "# A checkpoint of $MODEL"
    echo
    echo "\`make bench-checkpoint\`: medians of $REPEATS saves, each beside a bare write and fsync of the same bytes."
    echo
    echo '```'
    cat "$work/out"
    echo '```'
} >"$result"
