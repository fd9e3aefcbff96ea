#!/bin/bash
# asan too
# Collectives among 1 to 4 ranks of one machine: right sums, equal bits, agreement, deadlines, and
# that nobody hangs when a rank sleeps, dies or aborts.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
check=$BUILD/tools/comm_check
need_program "$check"

for mode in sums buckets slices agree; do
    for n in 1 2 3 4; do
        ranks "$n" 60 "$check" "$mode" >"$WORK/log" 2>&1 ||
            fail "$mode with $n ranks: $(grep -m1 level=error "$WORK/log" || tail -1 "$WORK/log")"
    done
done
"$check" sums >"$WORK/log" 2>&1 || fail "sums without mpirun: $(tail -1 "$WORK/log")"

# ends MODE CODE SECONDS: 3 ranks end with CODE within SECONDS.
ends() {
    local start=$SECONDS code=0
    ranks 3 30 "$check" "$1" >"$WORK/log" 2>&1 || code=$?
    [ "$code" = "$2" ] || fail "$1: exit code $code, not $2: $(grep -m1 level=error "$WORK/log")"
    [ $((SECONDS - start)) -le "$3" ] || fail "$1: the ranks took $((SECONDS - start)) s to end"
}
ends timeout 14 8
[ "$(grep -c 'timeout named rank 1' "$WORK/log")" -ge 1 ] || fail "timeout: nobody named rank 1"
ends deaf 14 10
grep -q 'timeout named rank 1' "$WORK/log" || fail "deaf: rank 0 did not name rank 1: $(grep -m1 level=error "$WORK/log")"
ends abort 11 8
ends killed 137 8
grep -q 'went through' "$WORK/log" && fail "killed: a barrier went through without rank 1"
pass "1 to 4 ranks; a sleeping, an aborting and a killed rank end the job"
