#!/usr/bin/env bash
# timeout: 900
# `make gpu-bundle`: a folder under 40 MB whose programs need CUDA's libraries and libc's alone; without a card run.sh ends
# with one line and exit code 12; with the programs built for the emulator the same run.sh goes through.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
for program in "$BUILD/lockstep" "$BUILD/tools/motion_videos"; do need_program "$program"; done
[ -e "${CUDA_HOME:-/usr/local/cuda}/include/cublasLt.h" ] || skip "no CUDA headers"

# shellcheck disable=SC2086 # MAKE is a command with arguments
make_it() { # ARGUMENTS
    ${MAKE:-make -j2} -s BUILD="$BUILD" "$@" >"$WORK/build" 2>&1 || fail "does not build: $(grep -m1 -e error -e '\*\*\*' "$WORK/build")"
}

cards="not built, no nvcc"
if scripts/probe.sh --cuda | grep -q ' yes '; then
    make_it gpu-bundle
    bundle=$BUILD/gpu-bundle
    needs=$(for program in "$bundle"/bin/*; do
        LD_LIBRARY_PATH=${CUDA_HOME:-/usr/local/cuda}/lib64 ldd "$program" | awk '{ print $1, $3 }'
    done | sort -u)
    grep -q 'not found' <<<"$needs" && fail "libraries are missing: $(grep -m1 'not found' <<<"$needs")"
    other=$(awk '{ print $1 }' <<<"$needs" | sed 's|.*/||' | sort -u | grep -v -x -E \
        'linux-vdso\.so\.1|ld-linux-x86-64\.so\.2|lib(c|m|dl|rt|pthread|gcc_s)\.so\.[0-9]+|lib(cublas|cublasLt|cudart)\.so\.[0-9]+|lib(cjson|gomp)\.so\.1')
    [ -z "$other" ] || fail "the programs need more than they may: $other"
    for library in cjson gomp; do
        [ -e "$bundle/lib/lib$library.so.1" ] || fail "lib$library is not carried"
    done
    size=$(du -sm "$bundle" | cut -f1)
    [ "$size" -lt 40 ] || fail "$size MB"
    cards="$size MB"
    if ! command -v nvidia-smi >/dev/null; then
        code=0
        "$bundle/run.sh" "$WORK/none" >"$WORK/log" 2>&1 || code=$?
        [ "$code" = 12 ] || fail "without a card: exit code $code: $(tail -1 "$WORK/log")"
        [ "$(wc -l <"$WORK/log")" = 1 ] || fail "without a card: $(wc -l <"$WORK/log") lines"
        [ ! -e "$WORK/none" ] || fail "without a card: outputs are left"
    fi
fi

make_it VARIANT=emulated BUNDLE=1 "$BUILD"/bundle/emulated/{lockstep-worker,golden,benchmarks/bench_step,benchmarks/bench_ops}
scripts/gpu_bundle.sh "$BUILD/bundle/emulated" "$WORK/bundle" >"$WORK/log" 2>&1 || fail "no folder: $(tail -1 "$WORK/log")"
code=0
LOCKSTEP_BUNDLE_DEVICE=emulated LOCKSTEP_BUNDLE_STEPS=4 LOCKSTEP_BUNDLE_WIDTH=32 LOCKSTEP_BUNDLE_HEADS=2 LOCKSTEP_BUNDLE_CROP=32 \
    LOCKSTEP_BUNDLE_BENCH="--only check-64 --seconds 0.1" OMP_NUM_THREADS=1 "$WORK/bundle/run.sh" "$WORK/results" >"$WORK/log" 2>&1 || code=$?
[ "$code" = 0 ] || fail "emulated: exit code $code: $(grep -m1 FAILED "$WORK/log")"
[ "$(grep -c '^ok ' "$WORK/log")" = 7 ] || fail "emulated: $(grep -c '^ok ' "$WORK/log") parts of 7"
# A part that fails is told, and the others still run.
rm -r "$WORK/bundle/dataset" "$WORK/bundle"/golden/*
code=0
LOCKSTEP_BUNDLE_DEVICE=emulated LOCKSTEP_BUNDLE_STEPS=4 LOCKSTEP_BUNDLE_WIDTH=32 LOCKSTEP_BUNDLE_HEADS=2 LOCKSTEP_BUNDLE_CROP=32 \
    LOCKSTEP_BUNDLE_BENCH="--only check-64 --seconds 0.1" OMP_NUM_THREADS=1 "$WORK/bundle/run.sh" "$WORK/results2" >"$WORK/log" 2>&1 || code=$?
[ "$code" = 1 ] || fail "without data: exit code $code"
[ "$(grep -c '^FAILED ' "$WORK/log")" = 6 ] || fail "without data: $(grep -c '^FAILED ' "$WORK/log") parts fail, not 6"
pass "bundle for cards: $cards; run.sh goes through on the emulator"
