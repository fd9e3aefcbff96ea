#!/bin/bash
# asan too
# Collectives among 1 to 4 ranks of one machine: right sums, equal bits, agreement, deadlines, and
# that nobody hangs when a rank sleeps, dies or aborts.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
check=$BUILD/tools/comm_check
need_program "$check"

for n in 1 2 3 4; do
    ranks "$n" 200 "$check" sums buckets slices agree >"$WORK/log" 2>&1 ||
        fail "$n ranks: $(grep -m1 level=error "$WORK/log" || tail -1 "$WORK/log")"
done
"$check" sums >"$WORK/log" 2>&1 || fail "sums without mpirun: $(tail -1 "$WORK/log")"

# ends MODE CODE: 3 ranks end with CODE, in seconds where nobody else uses the machine, and never by mpirun's time limit.
ends() {
    local code=0
    ranks 3 100 "$check" "$1" >"$WORK/log" 2>&1 || code=$?
    [ "$code" = "$2" ] || fail "$1: exit code $code, not $2: $(grep -m1 level=error "$WORK/log")"
}
ends timeout 14
[ "$(grep -c 'timeout named rank 1' "$WORK/log")" -ge 1 ] || fail "timeout: nobody named rank 1"
ends deaf 14
grep -q 'timeout named rank 1' "$WORK/log" || fail "deaf: rank 0 did not name rank 1: $(grep -m1 level=error "$WORK/log")"
ends abort 11
ends killed 137
grep -q 'went through' "$WORK/log" && fail "killed: a barrier went through without rank 1"
pass "1 to 4 ranks; a sleeping, an aborting and a killed rank end the job"
