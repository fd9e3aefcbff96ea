#!/usr/bin/env bash
# timeout: 300
# emulated too
# Training on the emulated card, under ASan + UBSan: two ranks train to the CPU's losses and to those of one rank; killed
# and started again, or stopped and resumed, they end with the same bits; the CPU goes on from a card's checkpoint.
# 24 steps; in `make test-emulated` and `make test-gpu` 50, and the card goes on from the CPU's.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/e2e/lib_emulated.sh
. "$(dirname "$0")/lib_emulated.sh"
need_emulated

steps=24
[ "$DEVICE" = cpu ] || steps=50
long=(--set "optimization.steps=$steps" --set optimization.warmup_steps=8 --set meta.eval_freq=8 --set meta.save_freq_steps=8
    --set lockstep.deterministic=true)
train cpu cpu "${long[@]}" || fail "on the CPU: $(tail -1 "$WORK/cpu.log")"
ends card 0 "${long[@]}"
same_losses cpu card
# Sequences are padded, and what products need for a shape was made before the first step.
grep -q 'plans prepared=.* misses=0 ' "$WORK/card.log" || fail "plans missed: $(grep -m1 'plans prepared=.*misses' "$WORK/card.log")"
grep -q '"padding_share":0\.0*[1-9]' "$WORK/card/metrics.jsonl" || fail "no padding on the card"
grep -q '"padding_share":0,' "$WORK/cpu/metrics.jsonl" || fail "padding on the CPU"

ranks=1
ends one 0 "${long[@]}"
ranks=2
same_losses card one

ends again 75 "${long[@]}" --stop-at 8
LS_FAULT=kill:step:5:1:2 ends again 0 "${long[@]}"
[ "$(grep -c 'resume from=.*finished_steps=8' "$WORK/again.log")" = 2 ] || fail "killed in step 13, it did not go on from step 8"
[ "$(digest card)" = "$(digest again)" ] || fail "killed and started again on the card, the result is another one"

ends card_to_cpu 75 "${long[@]}" --stop-at 12
cp -r "$WORK/card_to_cpu" "$WORK/resumed"
ends resumed 0 "${long[@]}"
[ "$(digest card)" = "$(digest resumed)" ] || fail "stop and resume on the card change the result"
train card_to_cpu cpu "${long[@]}" || fail "a card's checkpoint on the CPU: $(tail -1 "$WORK/card_to_cpu.log")"
same_losses cpu card_to_cpu

if [ "$DEVICE" != cpu ]; then
    code=0
    train cpu_to_card cpu "${long[@]}" --stop-at 12 || code=$?
    [ "$code" = 75 ] || fail "cpu_to_card: exit code $code: $(tail -1 "$WORK/cpu_to_card.log")"
    ends cpu_to_card 0 "${long[@]}"
    same_losses cpu cpu_to_card
fi
pass "$steps steps: the CPU's losses, one rank's, the same bits after a kill and a stop; on on the CPU"
