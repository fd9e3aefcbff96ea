#!/usr/bin/env bash
# timeout: 600
# Gradient sums from card to card, on the emulator's NCCL: two ranks train to the CPU's losses and to the bits that sums
# in host memory give; ranks that share a card, a mismatched collective and a lost one end in one line.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/e2e/lib_emulated.sh
. "$(dirname "$0")/lib_emulated.sh"
need_emulated

# says RUN PATTERN: stands in its log.
says() { grep -q -e "$2" "$WORK/$1/log" || fail "$1: no line says '$2': $(tail -1 "$WORK/$1.log")"; }

wide=(--set model.embed_dim=64) # three buckets
train cpu cpu "${wide[@]}" || fail "on the CPU: $(tail -1 "$WORK/cpu.log")"
EMULATOR_CARDS=2 ends nccl 0 "${wide[@]}" --set lockstep.deterministic=true
says nccl 'gradient_sums by=nccl ranks=2 buckets=3 .* deterministic=yes'
same_losses cpu nccl
EMULATOR_CARDS=2 ends mpi 0 "${wide[@]}" --set lockstep.gpu_comm=mpi
says mpi 'gradient_sums by=mpi ranks=2'
[ "$(digest nccl)" = "$(digest mpi)" ] || fail "sums by NCCL and MPI in the same order differ"

# The optimizer's state divided over the cards: the same bits, in float32 and with copies in bf16; the CPU goes on from it.
parts=(--set optimization.optimizer_state=sharded)
EMULATOR_CARDS=2 ends parts 0 "${wide[@]}" "${parts[@]}" --set lockstep.deterministic=true
says parts 'gradient_sums by=nccl ranks=2 .* optimizer_state=sharded'
[ "$(digest parts)" = "$(digest nccl)" ] || fail "a divided state has other bits"
for state in replicated sharded; do
    EMULATOR_CARDS=2 ends "bf16_$state" 0 "${wide[@]}" --set lockstep.deterministic=true --set meta.dtype=bfloat16 \
        --set "optimization.optimizer_state=$state"
done
[ "$(digest bf16_replicated)" = "$(digest bf16_sharded)" ] || fail "a divided state in bf16 has other bits"
EMULATOR_CARDS=2 ends moved 75 "${wide[@]}" "${parts[@]}" --stop-at 3
train moved cpu "${wide[@]}" || fail "the CPU, from a divided state of two cards: $(tail -1 "$WORK/moved.log")"
same_losses cpu moved

ends shared 2 --set lockstep.gpu_comm=nccl
says shared 'gpu_comm: nccl, but ranks 0 and 1 on .* share card 0'

code=0
timeout -k 5 200 mpirun --quiet --oversubscribe -n 1 "$emulated/lockstep-worker" "$WORK/nccl" --run-epoch 2 --device cpu : \
    -n 1 "$emulated/lockstep-worker" "$WORK/nccl" --run-epoch 2 --device emulated >"$WORK/mixed.log" 2>&1 || code=$?
[ "$code" = 2 ] || fail "CPU and GPU: exit code $code: $(tail -1 "$WORK/mixed.log")"
grep -q 'rank 1 on [^ ]* has another device (one computes on a GPU, the other on the CPU) than rank 0' "$WORK/mixed.log" ||
    fail "CPU and GPU: $(grep -m1 level=error "$WORK/mixed.log")"

# Both ranks notice that rank 1's seventh sum, the first of the third step, is another one.
for what in count operation; do
    EMULATOR_CARDS=2 EMULATOR_NCCL_FAULT=1:7:$what ends "other_$what" 13 "${wide[@]}" --set lockstep.max_restarts=0
    says "other_$what" 'NCCL: gradients are summed (rank . of 2): invalid usage; mismatched collective 7: rank '
done
EMULATOR_CARDS=2 EMULATOR_NCCL_FAULT=1:9:skip ends lost 14 "${wide[@]}" --set lockstep.max_restarts=0 --set lockstep.step_timeout_s=8
says lost 'NCCL: .* sums of .* are not done after 8 s'
pass "2 ranks train over NCCL to the CPU's losses and to MPI's bits; mismatched and lost collectives are told"
