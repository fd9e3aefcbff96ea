#!/usr/bin/env bash
# timeout: 600
# emulated too
# The CUDA sources, compiled for the CPU under ASan + UBSan: the golden files hold in both dtypes, in other orders of
# threads, padded to buckets; without a card `--device cuda` is refused.
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
            EMULATOR_ORDER=$order "$emulated/golden" "$folder/$name.h5" --quiet --device "$card" --dtype "$dtype" "$@" \
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

if [ "$card" = emulated ]; then
    code=0
    train none cuda || code=$?
    [ "$code" = 12 ] || fail "--device cuda without a card: exit code $code"
fi
pass "golden files in both dtypes and padded"
