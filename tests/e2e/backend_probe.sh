#!/usr/bin/env bash
# `make config` says yes only for what works, and why not for the rest.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
set -eo pipefail

make -s config >"$WORK/all" || fail "a needed backend is missing: $(grep ' no ' "$WORK/all")"
grep -qE '^hdf5 +yes .*[0-9]+\.[0-9]+' "$WORK/all" || fail "no version of HDF5 in: $(cat "$WORK/all")"

make -s config CUDA=0 | grep -qE '^cuda +no .*CUDA=0' || fail "CUDA=0 does not switch CUDA off"
make -s config CUDA=0 >"$WORK/without"
grep -qE '^cudnn +no .*CUDA=0' "$WORK/without" || fail "CUDA=0 does not switch cuDNN off"

# A program that is called nvcc and does nothing must not count as a CUDA compiler.
mkdir "$WORK/bin"
printf '#!/bin/sh\nexit 0\n' >"$WORK/bin/nvcc"
chmod +x "$WORK/bin/nvcc"
PATH=$WORK/bin:$PATH make -s config | grep -qE '^cuda +no ' || fail "a false nvcc counts as CUDA"
make -s config NVCC="$WORK/nvcc" | grep -qE "^cuda +no .*no $WORK/nvcc" || fail "an absent nvcc is not said"

# The build's own question is answered once and again when the compiler is another.
ask() { CUDA_FOUND=$WORK/found NVCC=$1 scripts/probe.sh --cuda; }
ask "$WORK/bin/nvcc" | grep -qE '^cuda +no ' || fail "a false nvcc would be built with"
[ -s "$WORK/found" ] || fail "the answer about CUDA is not kept"
ask gcc | grep -q 'GPUs: gcc: ' || fail "an answer about one compiler is given for another"

# Without the libraries' descriptions: no, a reason, what to do, and a failure.
status=0
PKG_CONFIG_LIBDIR=$WORK make -s config >"$WORK/none" 2>/dev/null || status=$?
[ "$status" != 0 ] || fail "make config succeeds without libraries"
grep -qE '^yaml +no .*make setup' "$WORK/none" || fail "no reason for the missing YAML library"
# A library that is described but cannot be linked is a no too.
printf 'Name: yaml\nDescription: false\nVersion: 1\nLibs: -lnot_there\n' >"$WORK/yaml-0.1.pc"
PKG_CONFIG_PATH=$WORK scripts/probe.sh >"$WORK/false" || true
grep -qE '^yaml +no .*not_there' "$WORK/false" || fail "says yes to what cannot be linked"
pass "the probe tells yes from no"
