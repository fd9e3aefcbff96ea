#!/bin/bash
# timeout: 300
# `lockstep scale` on one node, strong and weak: table, CSV, plots; what was measured is not measured again, and
# mistakes are told.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
lockstep=$BUILD/lockstep
need_program "$lockstep"
need_program "$BUILD/tools/motion_videos"
"$BUILD/tools/motion_videos" -o "$WORK/videos" --count 8 >"$WORK/log" 2>&1 || fail "no videos: $(tail -1 "$WORK/log")"
"$lockstep" pack "$WORK/videos" -o "$WORK/dataset" >"$WORK/log" 2>&1 || fail "no dataset: $(tail -1 "$WORK/log")"

scale() { # OPTION...
    "$lockstep" scale configs/demo.yaml --set "data.datasets=[$WORK/dataset]" --set data.batch_size=2 \
        --set tasks_per_node=1 --steps 3 --warm-up 1 --repeats 2 -o "$WORK/out" "$@" >"$WORK/table" 2>"$WORK/log"
}
refuses() { # WORDS OPTION...
    local text=$1 code=0
    shift
    scale "$@" || code=$?
    [ "$code" = 2 ] || fail "$*: exit code $code, not 2"
    grep -q -- "$text" "$WORK/log" || fail "$*: it says: $(tail -1 "$WORK/log")"
}

scale --nodes 1 || fail "one node: $(tail -1 "$WORK/log")"
grep -q '^    1       1 ' "$WORK/table" || fail "no line for one node: $(cat "$WORK/table")"
[ "$(wc -l <"$WORK/out/scale.csv")" = 3 ] || fail "scale.csv has $(wc -l <"$WORK/out/scale.csv") lines"
awk -F, 'NR > 1 && !($5 == 2 && $6 > 0 && $7 > 0 && $12 > 1e6) { exit 1 }' "$WORK/out/scale.csv" ||
    fail "scale.csv: $(tail -1 "$WORK/out/scale.csv")"
cmp -s "$WORK/table" "$WORK/out/scale.txt" || fail "scale.txt is not the table"
if command -v gnuplot >/dev/null; then
    head -c 8 "$WORK/out/scale.png" | grep -q PNG || fail "no PNG"
    grep -q '<svg' "$WORK/out/scale.svg" || fail "no SVG"
fi
before=$(cat "$WORK/out/scale.csv")
scale --nodes 1 || fail "again: $(tail -1 "$WORK/log")"
[ "$before" = "$(cat "$WORK/out/scale.csv")" ] || fail "it measured again"
[ ! -e "$WORK/out/runs/nodes-1-repeat-1/checkpoints" ] || fail "a checkpoint was left"

# What the model takes is what `train` says of it before it takes it.
"$BUILD/lockstep-worker" "$WORK/out/runs/nodes-1-repeat-1" --memory --device cpu >"$WORK/memory" 2>"$WORK/log" || fail "--memory: $(tail -1 "$WORK/log")"
planned=$(tr ',' '\n' <"$WORK/memory" | awk -F: '$2 ~ /^[0-9]/ { sum += $2 } END { printf "%d", (sum + 1048575) / 1048576 }')
[ "$planned" = "$(sed -n 's/.* memory_plan .* all_mb=\([0-9]*\) .*/\1/p' "$WORK/out/runs/nodes-1-repeat-1.log")" ] ||
    fail "planned $planned MiB: $(cat "$WORK/memory"); $(grep memory_plan "$WORK/out/runs/nodes-1-repeat-1.log")"

# Killed without a word, it takes its run with it.
scale --nodes 1 --steps 100000 -o "$WORK/killed" &
for tries in $(seq 1200); do
    grep -qs '^step 3/' "$WORK/killed/runs/nodes-1-repeat-1.log" && break
    [ "$tries" -lt 1200 ] || fail "killed: no step: $(tail -1 "$WORK/killed/runs/nodes-1-repeat-1.log")"
    sleep 0.1
done
kill -9 "$(pgrep -f "scale configs/demo.yaml.*-o $WORK/killed")"
for tries in $(seq 1200); do
    pgrep -f "$WORK/killed/runs" >"$WORK/left" || break
    [ "$tries" -lt 1200 ] || fail "killed: left running: $(pgrep -fa "$WORK/killed/runs")"
    sleep 0.1
done

refuses 'under other settings' --nodes 1 --set data.batch_size=1
refuses 'need --hosts, a SLURM job, or --submit' --nodes 1,2
refuses 'node counts' --weak
refuses 'numbers from 1' --nodes 1,x
refuses 'one of them' --nodes 1 --weak --strong
refuses 'strong scaling cannot' --nodes 1,2 --strong --hosts a,b
refuses '2 are there' --nodes 4 --hosts a,b

# The forecast from what was measured: one node takes as long as it did, a slow link is what bounds two.
plan() {
    "$lockstep" plan configs/demo.yaml --set "data.datasets=[$WORK/dataset]" --set data.batch_size=2 \
        --set tasks_per_node=1 "$@" >"$WORK/plan" 2>"$WORK/log"
}
plan --profile "$WORK/out" --link 10 --nodes 1,2 -o "$WORK/forecast" || fail "plan: $(tail -1 "$WORK/log")"
measured=$(awk -F, 'NR > 1 { sum += $6 } END { print sum / 2 }' "$WORK/out/scale.csv")
awk -F, -v m="$measured" 'NR == 2 { d = $3 - m; exit !(d < 1e-4 && d > -1e-4) }' "$WORK/forecast/plan.csv" ||
    fail "plan: one node was $measured s: $(sed -n 2p "$WORK/forecast/plan.csv")"
grep -Eq '^memory .* float32: state [0-9.]+, activations [0-9.]+, clips [0-9.]+, workspace' "$WORK/plan" || fail "plan: no memory: $(cat "$WORK/plan")"
grep -q '^    2 .* network$' "$WORK/plan" || fail "plan: two nodes at 10 Mbit/s: $(cat "$WORK/plan")"
plan --nodes 2 && fail "plan: no profile and no card, and it goes on"
grep -q 'is not guessed' "$WORK/log" || fail "plan: it says: $(cat "$WORK/log")"
pass "table, CSV, plots; nothing twice"
