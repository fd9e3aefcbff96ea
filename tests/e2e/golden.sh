#!/usr/bin/env bash
# The model holds the golden files in float32, on 1 to 3 threads, with 1 and 2 workers, with and without activation
# checkpointing, on every instruction set, and in bfloat16 where there are products for it; and build/golden says so
# when a number is off.
# asan too
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
golden=$BUILD/golden
need_program "$golden"
files=()
for name in pretrain_a pretrain_b pretrain_c schedules; do
    for folder in tests/golden "$SHARED/golden"; do
        [ -e "$folder/$name.h5" ] && files+=("$folder/$name.h5") && break
    done
done

for options in "--threads 1" "--threads 2" "--threads 3" "--workers 2" "--checkpointing"; do
    # shellcheck disable=SC2086 # an option and its value
    "$golden" "${files[@]}" --quiet $options >"$WORK/log" 2>"$WORK/errors" ||
        fail "$options: $(cat "$WORK/errors" "$WORK/log")"
    [ "$(grep -c ' 0 missed' "$WORK/log")" = ${#files[@]} ] || fail "$options: $(cat "$WORK/log")"
    sed "s/^/  $options  /" "$WORK/log"
done

for isa in SSE41 AVX2 AVX512_CORE; do
    DNNL_MAX_CPU_ISA=$isa "$golden" "${files[@]}" --quiet >"$WORK/log" 2>"$WORK/errors" ||
        fail "$isa: $(cat "$WORK/errors" "$WORK/log")"
done
if "$golden" "${files[@]}" --quiet --dtype bfloat16 >"$WORK/log" 2>"$WORK/errors"; then
    sed "s/^/  bfloat16  /" "$WORK/log"
else
    grep -q 'no bf16 products' "$WORK/errors" || fail "bfloat16: $(cat "$WORK/errors" "$WORK/log")"
fi

"$golden" tests/golden/probe.h5 >/dev/null 2>"$WORK/errors"
[ $? = 2 ] || fail "a file of another kind: $(cat "$WORK/errors")"
grep -q 'probe.h5: not a file this program knows' "$WORK/errors" || fail "$(cat "$WORK/errors")"

# One element of one gradient, off by a part in a thousand of its array.
/usr/bin/python3 - tests/golden/pretrain_a.h5 "$WORK/off.h5" <<'X' || skip "python3-h5py is missing"
import shutil, sys
import h5py, numpy
shutil.copy(sys.argv[1], sys.argv[2])
with h5py.File(sys.argv[2], "r+") as file:
    array = file["step0/grad/encoder/blocks.1.attn.qkv.weight"]
    array[7, 5] += 1e-3 * numpy.linalg.norm(array[...])
X
"$golden" "$WORK/off.h5" >"$WORK/log" 2>"$WORK/errors"
[ $? = 1 ] || fail "a wrong gradient in the file: $(tail -n 1 "$WORK/log")"
[ "$(grep -c MISS "$WORK/log")" = 1 ] || fail "$(grep MISS "$WORK/log")"
grep -q '^step0/grad/encoder/blocks.1.attn.qkv.weight .*MISS$' "$WORK/log" || fail "$(grep MISS "$WORK/log")"
pass "${#files[@]} files"
