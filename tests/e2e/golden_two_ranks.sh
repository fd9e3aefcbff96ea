#!/bin/bash
# asan too
# emulated too
# Two MPI ranks that share the micro-batches of a golden file hold all its bounds: outputs, losses,
# gradients, and the state after the last step.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
check=$BUILD/tools/golden_ranks
[ "$DEVICE" != emulated ] || check=$BUILD/emulated/tools/golden_ranks
need_program "$check"
files=(tests/golden/pretrain_a.h5)
for name in b c; do
    [ -e "$SHARED/golden/pretrain_$name.h5" ] && files+=("$SHARED/golden/pretrain_$name.h5")
done
ranks 2 120 "$check" "${files[@]}" >"$WORK/log" 2>&1 ||
    fail "$(grep -m1 level=error "$WORK/log" || tail -1 "$WORK/log")"
[ "$(grep -c '2 ranks, .* 0 missed' "$WORK/log")" = ${#files[@]} ] || fail "$(cat "$WORK/log")"
sed 's/^/  /' "$WORK/log"
pass "$DEVICE: ${#files[@]} files"
