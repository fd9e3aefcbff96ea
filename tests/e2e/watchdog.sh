#!/bin/bash
# timeout: 600
# Ranks that hang, each in another place: within the deadline everybody is gone, the launcher names
# the rank and what the others waited for, starts all of them again, and the run ends.
# shellcheck source=tests/e2e/lib_train.sh
. "$(dirname "$0")/lib_train.sh"
pack_frames
took=()
steps=12

# hangs RUN FAULT PATTERN [OPTION...]: a run of $steps steps in whose first start FAULT strikes; its log
# must hold PATTERN.  Deadlines are so short that a busy machine may miss one of them in a later start too.
hangs() {
    local run=$1 fault=$2 pattern=$3 code=0 start=$SECONDS
    shift 3
    LS_FAULT=$fault train "$run" 2 --set lockstep.step_timeout_s=4 --set lockstep.max_restarts=9 \
        --set lockstep.start_timeout_s=30 --set optimization.steps=$steps --set meta.save_freq_steps=4 "$@" || code=$?
    [ "$code" = 0 ] || fail "$run: exit code $code, not 0: $(tail -2 "$WORK/$run.log")"
    grep -Eq "$pattern" "$WORK/$run.log" || fail "$run: not told: $(grep -E 'did_not|workers_lost' "$WORK/$run.log")"
    [ -z "$(workers_of "$run")" ] || fail "$run: workers are left: $(workers_of "$run")"
    [ "$(steps_of "$run")" = "$steps" ] || fail "$run: $(steps_of "$run") steps, not $steps"
    took+=("$run $((SECONDS - start)) s")
}

others='; others: rank=0 node=[^ ]+ step=5 phase=decide waits_for="exchange [0-9]+"'
# A stopped process; mpirun wakes it when it ends it, so that it may or may not write its record.
hangs stopped stop:step:5:1:1 "did_not_arrive rank=1 node=[^ ]+ step=[0-9]+ phase=.*$others"
python3 - "$WORK"/stopped/flight/000001-0000.json <<'END' || fail "the flight record is not as docs/formats.md says"
import json, sys
record = json.load(open(sys.argv[1]))
assert record["rank"] == 0 and record["waits"] and record["phase"] == "decide", record["phase"]
sums = [e for e in record["events"] if e[3] == "sum"]
assert len(record["events"]) > 50 and sums and all(len(e) == 7 for e in record["events"])
assert sums[-1][5] >= 0 and sums[-1][6] > 0, sums[-1]
END
# All of them: nobody is left who could tell, but the launcher.  Woken by mpirun they go on until they are told to stop, and
# may even be done before that.
steps=60
hangs frozen stop:step:5:-1:1 '(workers_lost|finished_after_silence) nothing was heard of any worker for 3 s' \
    --set lockstep.silence_timeout_s=3 --set lockstep.step_timeout_s=60
steps=12
# An endless loop outside of the loader.
hangs loop hang:step:5:1:1 "did_not_arrive rank=1 node=[^ ]+ step=[0-9]+ phase=.*$others"
# In the loader (a hung file system is no different): the rank itself says which data stays away.
hangs loader hang:frame:60:1:1 'workers_lost rank 1: no data for [0-9.]+ s: step [0-9]+, .*; the decode threads are at .*clean: '
# Before MPI has started.
hangs start hang:start:1:1:1 'did_not_arrive rank=1 node=[^ ]+ step=0 phase=start; others: rank=0 .* waits_for="MPI_Init 0"' --set lockstep.start_timeout_s=4
# A save that hangs: the last one has to succeed, by the second start.
hangs disk hang:fsync:1:1:1 'workers_lost rank 1: .*was not written within 2 s.*restart=1' --set lockstep.save_timeout_s=2
pass "$(printf '%s, ' "${took[@]}")"
