#!/usr/bin/env bash
# The operator tests hold on the older instruction sets too, which oneDNN and our kernels choose together.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

for isa in SSE41 AVX2 AVX512_CORE; do
    for program in tests/unit/test_op_*.c; do
        test=$BUILD/tests/$(basename "$program" .c)
        need_program "$test"
        DNNL_MAX_CPU_ISA=$isa "$test" >"$WORK/out" 2>&1 || fail "$(basename "$test") with $isa: $(grep -m 1 ERROR "$WORK/out")"
    done
done
pass "SSE4.1, AVX2, AVX-512"
