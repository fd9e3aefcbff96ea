#!/usr/bin/env bash
# No kernel spills registers or keeps an array in local memory, by what nvcc said when it built them; and the report
# says so when one does.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
spills=$WORK/spills.o.log
cat >"$spills" <<'X'
ptxas info    : Compiling entry function '_Z11some_kernelPf' for 'sm_90'
ptxas info    : Function properties for _Z11some_kernelPf
    0 bytes stack frame, 8 bytes spill stores, 12 bytes spill loads
ptxas info    : Used 255 registers, used 1 barriers, 1024 bytes smem
X
code=0
scripts/ptxas_report.sh "$spills" >"$WORK/log" 2>"$WORK/errors" || code=$?
[ "$code" = 1 ] || fail "a kernel that spills: exit status $code"
grep -q '^spills.cu  *255  *1024  *0  *8  *12  some_kernel$' "$WORK/errors" || fail "a kernel that spills: $(cat "$WORK/errors")"
echo nothing >"$spills"
code=0
scripts/ptxas_report.sh "$spills" >"$WORK/log" 2>"$WORK/errors" || code=$?
[ "$code" = 2 ] || fail "a log without kernels: exit status $code"

shopt -s nullglob
logs=("$BUILD"/release/obj/model/cuda/*.o.log)
[ ${#logs[@]} -gt 0 ] || skip "no nvcc: no kernel was built"
scripts/ptxas_report.sh "${logs[@]}" >"$WORK/log" 2>"$WORK/errors" || fail "$(paste -sd ' ' "$WORK/errors")"
pass "$(($(wc -l <"$WORK/log") - 1)) kernels"
