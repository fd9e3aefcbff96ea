#!/bin/bash
# timeout: 200
# alone
# Two launchers with workers on other nodes write one run folder, because the lock between them was lost (as on a file
# system without locks, after the nodes of the first were cut off).  The second has the newer run epoch: the run's state
# is its alone, and the first ends.
# shellcheck source=tests/e2e/lib_nodes.sh
. "$(dirname "$0")/../e2e/lib_nodes.sh"
lockstep=$BUILD/lockstep
need_program "$lockstep"
need_program "$BUILD/lockstep-worker"
need_program "$BUILD/tools/motion_videos"
nodes_up 4
"$BUILD/tools/motion_videos" -o "$WORK/videos" --count 16 --seed 1 >"$WORK/log" 2>&1 || fail "motion_videos"
"$lockstep" pack "$WORK/videos/LIST.csv" -o "$WORK/data" >"$WORK/log" 2>&1 || fail "pack: $(tail -1 "$WORK/log")"

train() { # RUN HOSTS LOG [OPTION...]
    "$nodes" exec ctl timeout -k 5 100 "$lockstep" train tests/cluster/run.yaml --hosts "$2" --set "folder=$WORK/$1" \
        --set "data.datasets=[$WORK/data]" "${@:4}" >"$WORK/$3" 2>&1
}
wait_for_line() { # LOG TEXT
    local tries
    for tries in $(seq 600); do
        grep -qs -e "$2" "$WORK/$1" && return
        sleep 0.1
    done
    fail "$1: '$2' did not come ($tries looks): $(tail -3 "$WORK/$1")"
}
field() { # RUN FIELD: of the newest checkpoint
    "$lockstep" inspect "$WORK/$1/checkpoints/latest" --json | sed -n "s/.*\"$2\": *\"*\([0-9a-f]*\).*/\1/p" | head -1
}

train alone node1,node2 alone.log || fail "alone: $(tail -1 "$WORK/alone.log")"

train split node1,node2 first.log &
first=$!
wait_for_line first.log '^step 60/'
code=0
train split node3,node4 refused.log || code=$?
[ "$code" = 10 ] || fail "a second launcher: exit code $code: $(tail -1 "$WORK/refused.log")"
grep -q 'the run is in use by process [0-9]* on host ctl since' "$WORK/refused.log" || fail "$(tail -1 "$WORK/refused.log")"
rm "$WORK/split/lock"
code=0
train split node3,node4 second.log || code=$?
[ "$code" = 0 ] || fail "the second: exit code $code: $(tail -1 "$WORK/second.log")"
[ "$(field split step)" = 200 ] || fail "the run is at step $(field split step)"
[ "$(field split digest)" = "$(field alone digest)" ] || fail "another digest than undisturbed"
code=0
wait "$first" || code=$?
[ "$code" != 0 ] || fail "the first ended with 0: $(tail -1 "$WORK/first.log")"
[ "$(grep -c '^lockstep: ' "$WORK/first.log")" = 1 ] || fail "the first: not one line: $(tail -3 "$WORK/first.log")"
"$lockstep" verify "$WORK/split" >"$WORK/log" 2>&1 || fail "does not verify: $(head -1 "$WORK/log")"
steps=$(sed 's/^{"step":\([0-9]*\),.*/\1/' "$WORK/split/metrics.jsonl" | tr '\n' ' ')
echo "first: $(grep '^lockstep: ' "$WORK/first.log")"
[ "$steps" = "$(seq -s ' ' 200) " ] || fail "metrics hold the steps $steps"
pass "the first launcher's run was taken over; it ended with: $(grep '^lockstep: ' "$WORK/first.log" | cut -c1-150)"
