#!/bin/bash
# timeout: 180
# A rank is stopped in the middle of a step: within its deadline everybody is gone, the flight
# records stay, and the launcher names the rank that did not arrive.
# shellcheck source=tests/e2e/lib_train.sh
. "$(dirname "$0")/lib_train.sh"
pack_clean

train stalled 2 --set lockstep.step_timeout_s=3 --set lockstep.max_restarts=0 \
    --set optimization.steps=100000 --set meta.save_freq_steps=100000 &
job=$!
wait_for_step stalled 5
victim=$(workers_of stalled | tail -1)
kill -STOP "$victim" || fail "stalled: no worker to stop"
number=$(tr '\0' '\n' <"/proc/$victim/environ" | sed -n 's/^OMPI_COMM_WORLD_RANK=//p')
start=$SECONDS
code=0
wait "$job" || code=$?
took=$((SECONDS - start))
[ "$code" = 14 ] || fail "stalled: exit code $code, not 14: $(tail -1 "$WORK/stalled.log")"
[ "$took" -le 20 ] || fail "stalled: $took s until the job ended"
[ -z "$(workers_of stalled)" ] || fail "stalled: workers are left: $(workers_of stalled)"
# mpirun wakes the stopped rank when it ends it: time enough to write a record, or not.
grep -Eq "did_not_arrive (no_record_of_ranks=$number|behind: rank=$number host=.*) others_at: rank=$((1 - number)) host=.*phase=step" \
    "$WORK/stalled.log" || fail "stalled: rank $number is not named: $(tail -3 "$WORK/stalled.log")"
python3 -m json.tool "$WORK/stalled/flight/000001-000$((1 - number)).json" >"$WORK/record" ||
    fail "stalled: the flight record is not JSON"
pass "rank $number stopped; gone after $took s"
