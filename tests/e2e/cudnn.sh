#!/usr/bin/env bash
# timeout: 400
# cuDNN's attention without a card: the operation graphs of the models' head shapes are finalized and planned by the real
# libcudnn for an H100 that is described to it, and what it refuses the emulator's stand-in refuses too; a plan that computes
# something else than the plain attention is refused.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
[ -e "${CUDA_HOME:-/usr/local/cuda}/include/cudnn_graph.h" ] || skip "no cuDNN headers"

# shellcheck disable=SC2086 # MAKE is a command with arguments
make_them() { # VARIANT TARGET...
    ${MAKE:-make -j2} -s BUILD="$BUILD" VARIANT="$1" "${@:2}" >"$WORK/build" 2>&1 ||
        fail "does not build ($1): $(grep -m1 -e error -e '\*\*\*' "$WORK/build")"
}

# check WHERE PROGRAM: it passes; its output is in WHERE.
check() {
    "$2" >"$WORK/$1" 2>&1 || fail "$1: $(grep -m1 -e '^[^ [].*: cuDNN' -e 'is taken' -e FAILED "$WORK/$1")"
}

make_them emulated "$BUILD/emulated/tests/test_cudnn" "$BUILD/emulated/tests/test_op_attention"
check stand-in "$BUILD/emulated/tests/test_cudnn"

# dQ summed by atomics.
LOCKSTEP_TEST_DEVICE=emulated LOCKSTEP_TEST_DETERMINISTIC=0 check atomics "$BUILD/emulated/tests/test_op_attention"
grep -q 'used=plain.*reason="[^a]' "$WORK/atomics" && fail "atomics: $(grep -m1 'used=plain' "$WORK/atomics")"

# A library that computes something else is found out: every plan is refused, and the results are right all the same.
for wrong in scale lengths; do
    LOCKSTEP_TEST_DEVICE=emulated EMULATOR_CUDNN_WRONG=$wrong check "wrong-$wrong" "$BUILD/emulated/tests/test_op_attention"
    grep -q 'asked=cudnn used=plain.*differs from the plain one' "$WORK/wrong-$wrong" || fail "a wrong $wrong is not noticed"
done

[ -x "$BUILD/tests/test_cudnn" ] || skip "the stand-in refuses what it should; this build has no CUDA"
make_them release "$BUILD/tests/fake_driver/libcuda.so.1"
FAKE_DRIVER=$(realpath "$BUILD/tests/fake_driver/libcuda.so.1")
export FAKE_DRIVER
check real "$BUILD/tests/test_cudnn"
grep -q SKIPPED "$WORK/real" && skip "the stand-in refuses what it should; $(sed -n 's/^skipped: //p' "$WORK/real" | head -1)"
plans=$(grep -c 'engine [0-9]*, workspace' "$WORK/real")
[ "$plans" -ge 20 ] || fail "only $plans plans: $(head -2 "$WORK/real")"
pass "$(sed -n 's/; nothing runs//p' "$WORK/real" | head -1): $plans finalized, kernels compiled, none run; the stand-in agrees"
