#!/usr/bin/env bash
# timeout: 900
# emulated too
# The CUDA sources, compiled for the CPU under ASan + UBSan: the golden files hold in both dtypes, in other orders of
# threads; two ranks train to the CPU's losses and resume to the same bits; a checkpoint goes from one device to the
# other; without a card `--device cuda` is refused.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/e2e/lib_emulated.sh
. "$(dirname "$0")/lib_emulated.sh"
need_emulated
need_program "$emulated/golden"

# golden DTYPE ORDER [OPTION...]: all golden files, each in a process of its own.
golden() {
    local dtype=$1 order=$2 name folder
    shift 2
    for name in pretrain_a pretrain_b pretrain_c; do
        for folder in tests/golden "$SHARED/golden"; do
            [ -e "$folder/$name.h5" ] || continue
            EMULATOR_ORDER=$order "$emulated/golden" "$folder/$name.h5" --quiet --device emulated --dtype "$dtype" "$@" \
                >"$WORK/log" 2>"$WORK/errors" || fail "$name, $dtype $*: $(grep -h -m1 -e MISS -e ERROR "$WORK/log" "$WORK/errors")"
            sed "s/^/  $dtype $*  /" "$WORK/log"
            break
        done
    done
}
golden float32 reverse
golden bfloat16 shuffle:3
# Padded to buckets, as training on a card is.
golden float32 forward --bucket 16

long=(--set optimization.steps=50 --set optimization.warmup_steps=10 --set meta.eval_freq=20)
train cpu cpu "${long[@]}" || fail "on the CPU: $(tail -1 "$WORK/cpu.log")"
ends card 0 "${long[@]}"
same_losses cpu card
# Sequences are padded, and what products need for a shape was made before the first step.
grep -q 'plans prepared=.* misses=0 ' "$WORK/card.log" || fail "plans missed: $(grep -m1 'plans prepared=.*misses' "$WORK/card.log")"
grep -q '"padding_share":0\.0*[1-9]' "$WORK/card/metrics.jsonl" || fail "no padding on the card"
grep -q '"padding_share":0,' "$WORK/cpu/metrics.jsonl" || fail "padding on the CPU"
ends again 75 "${long[@]}" --stop-at 20
cp -r "$WORK/again" "$WORK/card_to_cpu"
ends again 0 "${long[@]}"
[ "$(digest card)" = "$(digest again)" ] || fail "stop and resume on the card change the result"

train card_to_cpu cpu "${long[@]}" || fail "a card's checkpoint on the CPU: $(tail -1 "$WORK/card_to_cpu.log")"
same_losses cpu card_to_cpu
code=0
train cpu_to_card cpu "${long[@]}" --stop-at 20 || code=$?
[ "$code" = 75 ] || fail "cpu_to_card: exit code $code: $(tail -1 "$WORK/cpu_to_card.log")"
ends cpu_to_card 0 "${long[@]}"
same_losses cpu cpu_to_card

code=0
train none cuda || code=$?
[ "$code" = 12 ] || fail "--device cuda without a card: exit code $code"
pass "golden files; 2 ranks train to the CPU's losses, resume to the same bits, go on on the other device"
