#!/bin/bash
# timeout: 300
# alone
# `lockstep scale --submit` on 4 virtual nodes under a real SLURM: one job that runs all counts and leaves table and CSV;
# given again it measures nothing twice; a job that is cancelled in its middle leaves nothing running and is gone on with.
# shellcheck source=tests/cluster/lib_cluster.sh
. "$(dirname "$0")/lib_cluster.sh"
cluster_up
make_data

scale() { # OPTION...: submitted; its job is then JOB
    slurm "$lockstep" scale tests/cluster/run.yaml --submit --set "data.datasets=[$WORK/data]" --set 'slurm.time="5:00"' "$@" \
        >"$WORK/submit" 2>&1 || fail "scale $*: exit code $?: $(tail -1 "$WORK/submit")"
    JOB=$(sed -n 's/^job  *\([0-9]*\).*/\1/p' "$WORK/submit")
    [ -n "$JOB" ] || fail "scale $*: no job number: $(cat "$WORK/submit")"
}
said() { tail -n 5 "$1"/job-*.log 2>/dev/null; }
ends() { # FOLDER: the job, and with it every process
    wait_until 150 "job $JOB: ended ($(said "$1"))" has_ended "$JOB"
    wait_until 20 "job $JOB: nothing left" nothing_left
}
measured() { tail -n +2 "$1/scale.csv" 2>/dev/null | cut -d, -f1-3 | sort | tr '\n' ' '; }

counts=(--nodes "1,2,4" --repeats 2 --steps 4 --warm-up 1)
scale "${counts[@]}" -o "$WORK/scale"
ends "$WORK/scale"
[ "$(job_state "$JOB")" = COMPLETED ] || fail "the job is $(job_state "$JOB"): $(said "$WORK/scale")"
[ "$(measured "$WORK/scale")" = "1,1,1 1,1,2 2,2,1 2,2,2 4,4,1 4,4,2 " ] || fail "measured: $(measured "$WORK/scale"); $(said "$WORK/scale")"
grep -Eq '^ +4 +4 ' "$WORK/scale/scale.txt" || fail "no line of 4 nodes: $(cat "$WORK/scale/scale.txt")"
grep -q 'ranks=4' "$WORK/scale/runs/nodes-4-repeat-1.log" || fail "not 4 ranks: $(tail -1 "$WORK/scale/runs/nodes-4-repeat-1.log")"
before=$(cat "$WORK/scale/scale.csv")
scale "${counts[@]}" -o "$WORK/scale"
ends "$WORK/scale"
[ "$before" = "$(cat "$WORK/scale/scale.csv")" ] || fail "it measured again"

# Cancelled while the workers of its second run are there, then submitted again.
counts=(--nodes "2,4" --repeats 1 --steps 60 --warm-up 1)
# shellcheck disable=SC2317 # wait_until calls it
second_runs() { grep -qs '^step 5' "$WORK/again/runs/nodes-4-repeat-1.log"; }
scale "${counts[@]}" -o "$WORK/again"
wait_until 90 "the second run ($(said "$WORK/again"))" second_runs
first=$(stat -c %Y "$WORK/again/runs/nodes-2-repeat-1/metrics.jsonl")
slurm scancel "$JOB"
ends "$WORK/again"
[ ! -e "$WORK/again/scale.txt" ] || fail "a cancelled benchmark has a table"
scale "${counts[@]}" -o "$WORK/again"
ends "$WORK/again"
[ "$(measured "$WORK/again")" = "2,2,1 4,4,1 " ] || fail "again: measured: $(measured "$WORK/again"); $(said "$WORK/again")"
[ "$first" = "$(stat -c %Y "$WORK/again/runs/nodes-2-repeat-1/metrics.jsonl")" ] || fail "again: the first run was measured again"
pass "a job for all counts, nothing twice, cancelled and gone on with"
