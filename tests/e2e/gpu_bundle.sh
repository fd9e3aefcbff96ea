#!/usr/bin/env bash
# timeout: 900
# `make gpu-bundle`: a folder under 40 MB whose programs need CUDA's libraries and libc's alone; without a card run.sh ends
# with one line and exit code 12; with the programs built for the emulator the same run.sh goes through, on two cards too:
# ranks that meet in a file train over NCCL to one card's losses, and one that dies ends the others.
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

make_it VARIANT=emulated device-objects
make_it VARIANT=emulated BUNDLE=1 "$BUILD"/bundle/emulated/{lockstep-worker,golden,benchmarks/bench_step,benchmarks/bench_ops}
scripts/gpu_bundle.sh "$BUILD/bundle/emulated" "$WORK/bundle" >"$WORK/log" 2>&1 || fail "no folder: $(tail -1 "$WORK/log")"
# run_it RESULTS: on the emulator, small; what it printed is in $WORK/log.
run_it() {
    code=0
    LOCKSTEP_BUNDLE_DEVICE=emulated LOCKSTEP_BUNDLE_STEPS=4 LOCKSTEP_BUNDLE_WIDTH=32 LOCKSTEP_BUNDLE_HEADS=2 LOCKSTEP_BUNDLE_CROP=32 \
        LOCKSTEP_BUNDLE_BENCH="--only check-64 --seconds 0.1" OMP_NUM_THREADS=1 EMULATOR_NCCL_FOLDER=$WORK \
        EMULATOR_CARDS=2 LOCKSTEP_BUNDLE_CARDS=2 "$WORK/bundle/run.sh" "$WORK/$1" >"$WORK/log" 2>&1 || code=$?
}
run_it results
[ "$code" = 0 ] || fail "emulated: exit code $code: $(grep -m1 FAILED "$WORK/log")"
[ "$(grep -c '^ok ' "$WORK/log")" = 8 ] || fail "emulated: $(grep -c '^ok ' "$WORK/log") parts of 8"
grep '^ok *train-cards' "$WORK/log"
[ -z "$(ls "$WORK/results/runs/together-float32/checkpoints" 2>/dev/null)" ] || fail "checkpoints are left"

# A rank that dies in a step of theirs, and data that is not there: told, and the other parts still run.
mkdir "$WORK/kept"
mv "$WORK/bundle"/golden/* "$WORK/kept"
export LOCKSTEP_BUNDLE_ONLY='golden-.*-float32|train-float32|train-cards'
LS_FAULT=kill:step:2:1:1 run_it results2
[ "$code" = 1 ] || fail "with a rank that dies: exit code $code"
[ "$(grep '^FAILED ' "$WORK/log" | awk '{ print $2 }' | tr '\n' ' ')" = "golden-pretrain_*-float32 train-cards " ] ||
    fail "with a rank that dies: $(grep '^FAILED ' "$WORK/log")"
grep -q '^ok *train-float32' "$WORK/log" || fail "a part that could be done was not: $(grep -m1 train-float32 "$WORK/log")"
pass "bundle for cards: $cards; run.sh goes through on two emulated cards"
