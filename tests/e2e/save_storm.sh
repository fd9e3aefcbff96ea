#!/bin/bash
# timeout: 300
# SIGKILL at random moments of saves, STORM times (50 unless given): no committed checkpoint is ever lost.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
need_program "$BUILD/tools/save_storm"
seed=${STORM_SEED:-$RANDOM}
"$BUILD/tools/save_storm" "$WORK/checkpoints" "${STORM:-50}" "$seed" >"$WORK/log" 2>&1 ||
    fail "seed $seed: $(tail -1 "$WORK/log")"
pass "$(cat "$WORK/log") (seed $seed)"
