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

# golden DTYPE ORDER: all golden files, each in a process of its own.
golden() {
    local name folder
    for name in pretrain_a pretrain_b pretrain_c; do
        for folder in tests/golden "$SHARED/golden"; do
            [ -e "$folder/$name.h5" ] || continue
            EMULATOR_ORDER=$2 "$emulated/golden" "$folder/$name.h5" --quiet --device emulated --dtype "$1" \
                >"$WORK/log" 2>"$WORK/errors" || fail "$name, $1: $(grep -h -m1 -e MISS -e ERROR "$WORK/log" "$WORK/errors")"
            sed "s/^/  $1  /" "$WORK/log"
            break
        done
    done
}
golden float32 reverse
golden bfloat16 shuffle:3

long=(--set optimization.steps=50 --set optimization.warmup_steps=10 --set meta.eval_freq=20)
train cpu cpu "${long[@]}" || fail "on the CPU: $(tail -1 "$WORK/cpu.log")"
ends card 0 "${long[@]}"
same_losses cpu card
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
