#!/usr/bin/env bash
# scripts/check_run.sh refuses each kind of run that make demo must not call good.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
set -eo pipefail

# metrics STEPS LOSS-AT-END STD-AT-END RANK-AT-END: falls and rises are straight lines from 0.8, 0.9 and 16.
metrics() {
    awk -v n="$1" -v loss="$2" -v std="$3" -v rank="$4" 'BEGIN {
        for (s = 1; s <= n; s++) {
            f = (s - 1) / (n - 1)
            printf "{\"step\":%d,\"loss\":%.5f,\"loss_group0\":0.1,\"target_std\":%.4f", s, 0.8 + f * (loss - 0.8), 0.9 + f * (std - 0.9)
            if (s % 50 == 0 || s == 1) printf ",\"target_rank\":%.3e", 16 + f * (rank - 16)
            print ",\"step_s\":1.0}"
        }
    }' >"$WORK/metrics.jsonl"
}
holds() { scripts/check_run.sh "$WORK" "$1" >"$WORK/out" || fail "$2 is refused: $(cat "$WORK/out")"; }
refused() {
    if scripts/check_run.sh "$WORK" "$1" >"$WORK/out"; then fail "$2 is accepted: $(cat "$WORK/out")"; fi
    [ "$(grep -c 'NOT SO' "$WORK/out")" = 1 ] || fail "$2: not one reason: $(cat "$WORK/out")"
}
metrics 300 0.6 0.8 12
holds 300 "a good run"
refused 301 "a run with a step less"
sed -i '100{h;d};101{G}' "$WORK/metrics.jsonl"
refused 300 "a run with two steps in the wrong order"
metrics 300 0.6 0.8 12
sed -i 200p "$WORK/metrics.jsonl"
refused 300 "a run with a step twice"
metrics 300 0.81 0.8 12
refused 300 "a run whose loss rises"
metrics 300 0.6 0.55 12
refused 300 "a run whose features lose their spread"
metrics 300 0.6 0.8 7
refused 300 "a run whose features lose their dimensions"
metrics 300 0.6 0.8 12
sed -i 's/,"target_rank":[^,]*//' "$WORK/metrics.jsonl"
refused 300 "a run without target_rank"
metrics 300 0.6 0.8 12
sed -i '150s/"loss":[^,]*/"loss":null/' "$WORK/metrics.jsonl"
refused 300 "a run with a loss that is no number"
pass "9 kinds of bad runs"
