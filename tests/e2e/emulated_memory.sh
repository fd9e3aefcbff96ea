#!/usr/bin/env bash
# timeout: 300
# A model that is too large for its card is refused before anything is allocated, in one line that says by how much and
# what would fit; what it says does fit.  Emulated cards of several sizes, under ASan + UBSan.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/e2e/lib_emulated.sh
. "$(dirname "$0")/lib_emulated.sh"
need_emulated

# on MB RUN CODE OPTION...: two ranks that share a card of MB.
on() {
    local size=$1
    shift
    EMULATOR_MEMORY_MB=$size ends "$@" --set data.batch_size=4 --set model.depth=8 --set lockstep.max_restarts=0 --stop-at 1
}
# says RUN PATTERN: one line of rank 0 does.
says() {
    [ "$(grep -c "rank=0 .*$2" "$WORK/$1/log")" = 1 ] || fail "$1: not one line says '$2': $(tail -1 "$WORK/$1.log")"
}
# figure RUN KEY: its value in the log.
figure() { sed -n "s/.* $2[= ]\([0-9]*\).*/\1/p" "$WORK/$1/log" | head -1; }

on 8192 large 75
need=$(figure large need_mb)
taken=$((8192 - $(figure large free_mb)))
[ "$need" -gt 8 ] || fail "the plan is of $need MiB only"

on $((need + taken)) exact 75
on $((need + taken - 1)) short 12
says short "card 0: the run needs $need MiB and .* MiB too little: model.use_activation_checkpointing: true would fit"
on $((need + taken - 1)) recompute 75 --set model.use_activation_checkpointing=true
allowed=$(figure short "lockstep.memory_mb:")
on $((need + taken - 1)) fitted 75 --set "lockstep.memory_mb=$allowed"
says fitted "memory_fit allowed_mb=$allowed recomputed_blocks=[0-9]* of="
some=$(figure fitted recomputed_blocks)
all=$(sed -n 's/.*memory_fit .* of=\([0-9]*\).*/\1/p' "$WORK/fitted/log" | head -1)
if [ "$some" -lt 1 ] || [ "$some" -ge "$all" ]; then fail "for one MiB $some of $all blocks are recomputed"; fi
[ "$(figure fitted need_mb)" -gt "$(figure recompute need_mb)" ] || fail "recomputing $some blocks saves as much as all"

less=$(figure recompute need_mb)
on $((less + taken - 1)) shorter 12
says shorter 'what would fit: data.batch_size: [12] with tasks_per_node: [48] and still 2 workers'
advice=$(sed -n 's/.*data.batch_size: \([12]\) with tasks_per_node: \([48]\).*/--set data.batch_size=\1 --set tasks_per_node=\2/p' "$WORK/shorter/log" | head -1)
# shellcheck disable=SC2086 # several words
EMULATOR_MEMORY_MB=$((less + taken - 1)) ends smaller 75 --set model.depth=8 --set lockstep.max_restarts=0 --stop-at 1 $advice

on $((taken + 2)) tiny 12
says tiny 'even clip by clip, recomputing activations, it needs .* MiB: a card with more memory is needed'
pass "$need MiB fit exactly; recomputing $less MiB, $some blocks of them for one MiB; smaller batches of the same step fit too"
