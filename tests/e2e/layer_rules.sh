#!/usr/bin/env bash
# `make layers` finds each kind of forbidden edge, and none in this project.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
set -eo pipefail

scripts/layers.sh || fail "this project breaks its own layers (above)"

tree=$WORK/tree
check() { # FILE LINE WHAT: that line in that file must be refused
    rm -rf "$tree"
    mkdir -p "$tree/$(dirname "$1")"
    printf '%s\n' "$2" >"$tree/$1"
    if scripts/layers.sh "$tree" >"$WORK/out"; then
        fail "not refused: $2 in $1"
    fi
    grep -q "^$1:1: " "$WORK/out" || fail "$2 in $1: no place in: $(cat "$WORK/out")"
}
allow() {
    rm -rf "$tree"
    mkdir -p "$tree/$(dirname "$1")"
    printf '%s\n' "$2" >"$tree/$1"
    scripts/layers.sh "$tree" || fail "refused: $2 in $1"
}
check core/a.c '#include "data/dataset.h"'
check model/a.c '#include "comm/comm.h"'
check model/cpu/a.c '#include "data/loader.h"'
check comm/a.h '#include "checkpoint/checkpoint.h"'
check launcher/a.c '#include "model/jepa.h"'
check launcher/a.c '#  include "worker/run.h"'
check worker/a.c '#include "launcher/train.h"'
check data/a.c '#include "tests/support/golden.h"'
check data/a.c '#include "dataset.h"'
check worker/a.c '#include <mpi.h>'
check launcher/a.c '#include <mpi.h>'
check launcher/a.c '#include <libavutil/avutil.h>'
check worker/a.c '#include <hdf5.h>'
check model/a.c '#include <dnnl.h>'
check model/cpu/a.c '#include <cuda_runtime.h>'
check comm/mpi.c '#include <cuda_runtime.h>'
check model/a.c '#include <cjson/cJSON.h>'
check data/a.c '#include <yaml.h>'
check tests/unit/a.c '#include "core/hash.c"'
allow worker/a.c '#include "model/jepa.h"'
allow launcher/a.c '#include "data/dataset.h"'
allow model/cpu/a.c '#include <dnnl.h>'
allow comm/nccl.c '#include <nccl.h>'
allow tests/unit/a.c '#include <mpi.h>'
rm -rf "$tree"
mkdir -p "$tree/core"
yes '/* a line */' | head -n 601 >"$tree/core/long.c" || true
if scripts/layers.sh "$tree" >"$WORK/out"; then
    fail "a file of 601 lines is not refused"
fi
pass "forbidden edges are refused"
