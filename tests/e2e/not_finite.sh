#!/bin/bash
# timeout: 240
# One rank's loss is not finite: all skip the step together.  Too many in a row: the run goes back to
# the newest checkpoint from before them and passes over their draws, which checkpoints remember.
# shellcheck source=tests/e2e/lib_train.sh
. "$(dirname "$0")/lib_train.sh"
pack_frames
short=(--set optimization.steps=16 --set meta.save_freq_steps=5 --set lockstep.max_restarts=1 --set lockstep.max_bad_steps=3)

draws() { # RUN STEP: draw_hash of a step
    sed -n "s/^{\"step\":$2,.*\"draw_hash\":\"\([0-9a-f]*\)\".*/\1/p" "$WORK/$1/metrics.jsonl"
}
skipped_steps() { # RUN
    sed -n 's/^{"step":\([0-9]*\),.*"skipped":true.*/\1/p' "$WORK/$1/metrics.jsonl" | tr '\n' ' '
}

train whole 2 "${short[@]}" || fail "whole: $(tail -1 "$WORK/whole.log")"

LS_FAULT=fail:not_finite:8:1:1 train once 2 "${short[@]}" || fail "once: $(tail -1 "$WORK/once.log")"
[ "$(skipped_steps once)" = "8 " ] || fail "once: steps $(skipped_steps once)were skipped, not 8"
grep -q 'step skipped=not_finite .*first_rank=1 in_a_row=1' "$WORK/once.log" || fail "once: not told"
grep -Eq 'rank=1 step=8 bad_clip dataset=.*clean video="[^"]+" frames=[0-9]+\.\.[0-9]+' "$WORK/once.log" || fail "once: the clips are not told"
[ "$(draws once 9)" = "$(draws whole 9)" ] || fail "once: other draws after a skipped step"

# Steps 8, 9 and 10 of a start from step 5: the save of step 10 must not take place, and the draws of 11 become those of 8.
train often 2 "${short[@]}" --stop-at 5 || [ $? = 75 ] || fail "often: $(tail -1 "$WORK/often.log")"
LS_FAULT=fail-for-good:not_finite:3:1:2 train often 2 "${short[@]}" || fail "often: $(tail -1 "$WORK/often.log")"
grep -q 'workers_lost rank 0: step 10: loss or gradient was not finite in 3 steps in a row' "$WORK/often.log" || fail "often: not told"
[ "$(grep -c 'resume from=".*step-000000005" finished_steps=5' "$WORK/often.log")" = 2 ] || fail "often: did not go back to step 5"
grep -q 'skipped_draws steps=3 last=9' "$WORK/often.log" || fail "often: other draws are skipped"
[ "$(skipped_steps often)" = "" ] || fail "often: metrics still hold the skipped steps $(skipped_steps often)"
[ "$(draws often 7)" = "$(draws whole 7)" ] || fail "often: other draws before the bad steps"
[ "$(draws often 8)" = "$(draws whole 11)" ] || fail "often: the draws of the bad steps are not passed over"
rm "$WORK/often/skipped.json"
train often 2 "${short[@]}" --set optimization.steps=18 || fail "often, longer: $(tail -1 "$WORK/often.log")"
[ "$(grep -c 'skipped_draws steps=3 last=9' "$WORK/often.log")" = 2 ] || fail "often: the checkpoint does not remember the skipped draws"
pass "one step skipped by all; three in a row passed over"
