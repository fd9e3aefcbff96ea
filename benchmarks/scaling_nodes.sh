#!/usr/bin/env bash
# Weak scaling on 1, 2 and 4 virtual nodes at three link rates, beside what `lockstep plan` forecasts from one node.
#
#   benchmarks/scaling_nodes.sh [RESULT.md]     needs root, the programs and build/benchmarks/bench_allreduce
#
# Every node has the same share of the cores (QUOTA, .45 of one) at every count, in periods of 10 ms and before all else
# that runs on this machine, one worker, one thread.  The forecast is given that share, the one-node profile and the
# all-reduce that was measured at that rate, and nothing of the runs on 2 and 4 nodes.  REPEATS (3), STEPS (15) and RATES ("1gbit 100mbit 30mbit") can be set.
set -euo pipefail
cd "$(dirname "$0")/.."
BUILD=${BUILD:-build}
REPEATS=${REPEATS:-3} STEPS=${STEPS:-15} QUOTA=${QUOTA:-0.45}
read -r -a rates <<<"${RATES:-1gbit 100mbit 30mbit}"
result=${1:-benchmarks/results/scaling-virtual-nodes.md}
percent=$(awk -v q="$QUOTA" 'BEGIN { printf "%d", q * 100 }')
nodes=tests/cluster/netns.sh
work=$(mktemp -d /tmp/lockstep-scaling.XXXXXX)
export MINI_STATE=$work/nodes
# shellcheck disable=SC2154 # the trap sets code
trap 'code=$?; [ "$code" = 0 ] || tail -n 5 "$work/log" "$work"/*/runs/*.log >&2; "$nodes" down; rm -rf "$work"; exit "$code"' EXIT
export OMPI_MCA_btl_tcp_if_include=eth0 OMPI_MCA_oob_tcp_if_include=eth0 OMPI_MCA_plm_rsh_agent="$PWD/$nodes agent"
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_mpi_yield_when_idle=1
export OMPI_MCA_hwloc_base_binding_policy=none

"$BUILD/tools/motion_videos" -o "$work/videos" --count 64 >"$work/log" 2>&1
"$BUILD/lockstep" pack "$work/videos" -o "$work/dataset" >"$work/log" 2>&1
config=(configs/demo.yaml --set "data.datasets=[$work/dataset]" --set tasks_per_node=1 --set data.batch_size=16
    --set lockstep.threads=1 --set data.num_workers=1)
mkdir -p "$work/nodes"
"$nodes" up 4
for i in 1 2 3 4; do "$nodes" cpu "node$i" "$QUOTA"; done

{
    echo "# Weak scaling on virtual nodes"
    echo
    echo "\`benchmarks/scaling_nodes.sh\`, $(date -u +%Y-%m-%d), commit $(git describe --always --dirty)," \
        "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(nproc) cores. Each node has $QUOTA of a core"
    echo "at every count, one worker with one thread; the demo's model, 16 clips a micro-batch, $REPEATS repeats of $STEPS" \
        "steps in turn."
    echo "The forecast knows one node, its share of a core and the all-reduce at that rate, nothing of the runs on 2 and 4."
    echo "Load of the machine at the start: $(cut -d' ' -f1 /proc/loadavg); the nodes go first."
} >"$work/result.md"
worst=0
for rate in "${rates[@]}"; do
    for i in 1 2 3 4; do "$nodes" rate "node$i" "$rate" 64k; done
    "$nodes" exec ctl mpirun --quiet -n 2 --host node1,node2 "$BUILD/benchmarks/bench_allreduce" --csv --seconds 2 \
        --most 4194304 --buckets 16 >"$work/allreduce-$rate.csv"
    "$nodes" exec ctl "$BUILD/lockstep" scale "${config[@]}" --nodes 1,2,4 --hosts node1,node2,node3,node4 \
        --repeats "$REPEATS" --steps "$STEPS" --note "$rate" -o "$work/$rate" >"$work/table" 2>"$work/log"
    "$BUILD/lockstep" plan "${config[@]}" --cpu "$percent" --nodes 1,2,4 --profile "$work/$rate" --allreduce "$work/allreduce-$rate.csv" \
        -o "$work/plan-$rate" >"$work/plan"
    {
        printf '\n## %s\n\n```\n' "$rate"
        cat "$work/table"
        echo
        cat "$work/plan"
        printf '```\n\n| nodes | measured clips/s | forecast | error |\n| --- | --- | --- | --- |\n'
        # columns of scale.txt: nodes workers clips/s; of plan.csv: nodes workers step_s clips_per_s
        awk 'FNR == NR { split($0, p, ","); forecast[p[1]] = p[4]; next }
             $1 ~ /^[0-9]+$/ && $2 ~ /^[0-9]+$/ { printf "| %d | %.2f | %.2f | %+.1f %% |\n", $1, $3, forecast[$1], 100 * (forecast[$1] / $3 - 1) }' \
            "$work/plan-$rate/plan.csv" "$work/table"
    } >>"$work/result.md"
    mkdir -p "$(dirname "$result")"
    cp "$work/$rate/scale.png" "$(dirname "$result")/scaling-$rate.png" 2>/dev/null || true
    error=$(awk '/^\| [24] / { e = $8 < 0 ? -$8 : $8; if (e > w) w = e } END { print w + 0 }' "$work/result.md")
    worst=$error
done
printf '\nWorst error of a forecast: %s %%\n' "$worst" >>"$work/result.md"
cp "$work/result.md" "$result"
cat "$result"
