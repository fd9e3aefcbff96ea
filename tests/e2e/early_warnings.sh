#!/bin/bash
# timeout: 240
# A collapse made on purpose is called so, a healthy run is not; a spike of one rank's loss is skipped by
# all, and a resumed run judges by the losses of the start before.
# shellcheck source=tests/e2e/lib_train.sh
. "$(dirname "$0")/lib_train.sh"
pack_once all "$SHARED/videos/clean" # those that the recipes of a collapse are for
steps=50
options=(--set meta.eval_freq=10 --set meta.save_freq_steps=25)

warnings() { # RUN: kinds of events that are warnings, with what they were seen by
    sed -n 's/.*"event":"\([a-z_]*\)","warning":true,\("by":"\([a-z_]*\)",\)\?.*/\1:\3/p' "$WORK/$1/events.jsonl" | sort | tr '\n' ' '
}
skipped_steps() { # RUN
    sed -n 's/^{"step":\([0-9]*\),.*"skipped":true.*/\1/p' "$WORK/$1/metrics.jsonl" | tr '\n' ' '
}

train_all healthy 2 "${options[@]}" --set optimization.loss_spike=10 --set optimization.loss_spike_window=16
[[ $(warnings healthy) != *collapse* && $(warnings healthy) != *divergence* && $(warnings healthy) != *bad_step* ]] ||
    fail "a healthy run is called: $(warnings healthy)"
grep -q '"event":"start","warning":false,"workers":2,' "$WORK/healthy/events.jsonl" || fail "healthy: no start among the events"
grep -q '"event":"saved","warning":false,"finished_steps":25,' "$WORK/healthy/events.jsonl" || fail "healthy: no save among the events"

train_all no_ema 2 "${options[@]}" --set 'optimization.ema=[0,0]'
train_all fast 2 "${options[@]}" --set optimization.lr=0.03 --set optimization.start_lr=0.03 --set optimization.final_lr=0.03
for run in no_ema fast; do
    [[ $(warnings $run) == *collapse:* ]] || fail "$run: no collapse is told: $(warnings $run)"
    grep -q ' collapse by=.*advice="lower optimization.lr (.*), raise optimization.ema (.*) or lengthen optimization.warmup (10 steps)"' "$WORK/$run.log" ||
        fail "$run: the settings are not named: $(grep collapse "$WORK/$run.log" | head -1)"
    [ "$(warnings $run | tr ' ' '\n' | grep collapse: | sort | uniq -d)" = "" ] || fail "$run: told again and again: $(warnings $run)"
done

# One rank's loss is ten times what it was, in the second start of a run: the window is that of the first.
spikes=(--set optimization.loss_spike=10 --set optimization.loss_spike_window=20)
train spiked 2 "${options[@]}" "${spikes[@]}" --stop-at 22 || [ $? = 75 ] || fail "spiked: $(tail -1 "$WORK/spiked.log")"
LS_FAULT=fail:loss_spike:5:1:2 train_all spiked 2 "${options[@]}" "${spikes[@]}"
[ "$(skipped_steps spiked)" = "27 " ] || fail "spiked: steps $(skipped_steps spiked)were skipped, not 27"
grep -q 'step skipped=loss_spike loss=.* window=20 in_a_row=1' "$WORK/spiked.log" || fail "spiked: not told"
[ "$(grep -c ' bad_clip dataset=.*clean video=' "$WORK/spiked.log")" = 4 ] || fail "spiked: the clips of all ranks are not told"
[[ $(warnings spiked) == *bad_step:loss_spike* ]] || fail "spiked: no event: $(warnings spiked)"

# Another schedule than the steps before had.
train spiked 2 "${options[@]}" "${spikes[@]}" --set optimization.steps=54 --set optimization.lr=2e-3 ||
    fail "spiked, longer: $(tail -1 "$WORK/spiked.log")"
[[ $(warnings spiked) == *learning_rate:config* ]] || fail "the jump of the schedule is not told: $(warnings spiked)"
pass "no_ema: $(warnings no_ema); fast: $(warnings fast)"
