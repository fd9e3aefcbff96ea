#!/usr/bin/env bash
# `make config` says yes only for what works, and why not for the rest.
set -euo pipefail

fail() {
    echo "$1"
    exit 1
}
make -s config >"$TMPDIR/all" || fail "a needed backend is missing: $(grep ' no ' "$TMPDIR/all")"
grep -qE '^hdf5 +yes .*[0-9]+\.[0-9]+' "$TMPDIR/all" || fail "no version of HDF5 in: $(cat "$TMPDIR/all")"

make -s config CUDA=0 | grep -qE '^cuda +no .*CUDA=0' || fail "CUDA=0 does not switch CUDA off"

# A program that is called nvcc and does nothing must not count as a CUDA compiler.
mkdir "$TMPDIR/bin"
printf '#!/bin/sh\nexit 0\n' >"$TMPDIR/bin/nvcc"
chmod +x "$TMPDIR/bin/nvcc"
PATH=$TMPDIR/bin:$PATH make -s config | grep -qE '^cuda +no ' || fail "a false nvcc counts as CUDA"
CUDA_HOME=$TMPDIR make -s config | grep -qE '^cuda +(no .*no nvcc|yes)' || fail "an absent nvcc is not said"

# Without the libraries' descriptions: no, a reason, what to do, and a failure.
status=0
PKG_CONFIG_LIBDIR=$TMPDIR make -s config >"$TMPDIR/none" 2>/dev/null || status=$?
[ "$status" != 0 ] || fail "make config succeeds without libraries"
grep -qE '^yaml +no .*make setup' "$TMPDIR/none" || fail "no reason for the missing YAML library"
# A library that is described but cannot be linked is a no too.
printf 'Name: yaml\nDescription: false\nVersion: 1\nLibs: -lnot_there\n' >"$TMPDIR/yaml-0.1.pc"
PKG_CONFIG_PATH=$TMPDIR scripts/probe.sh >"$TMPDIR/false" || true
grep -qE '^yaml +no .*not_there' "$TMPDIR/false" || fail "says yes to what cannot be linked"
echo "the probe tells yes from no"
