#!/bin/bash
# asan too
# What a user can get wrong before a run starts: each ends in one line that names it, with its exit
# code, and starts nothing.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
lockstep=$BUILD/lockstep
need_program "$lockstep"
need_program "$BUILD/tools/motion_videos"
case $lockstep in /*) ;; *) lockstep=$PWD/$lockstep ;; esac

# A worker that says when it runs, and waits.
cat >"$WORK/worker" <<EOF
#!/bin/sh
touch "$WORK/started"
exec sleep 600
EOF
chmod +x "$WORK/worker"
export LOCKSTEP_WORKER=$WORK/worker

"$BUILD/tools/motion_videos" -o "$WORK/videos" --count 8 --seed 1 >"$WORK/log" 2>&1 ||
    fail "motion_videos: $(tail -1 "$WORK/log")"
list=$WORK/videos/LIST.csv
sets=(--set "folder=$WORK/run" --set "data.datasets=[$list]" --set "data.packed_folder=$WORK/packed")

# refuse CODE PATTERN COMMAND...: the command ends with CODE and says one line that has PATTERN.
refuse() {
    local code=$1 pattern=$2 got=0
    shift 2
    timeout -k 5 60 "$@" >"$WORK/out" 2>"$WORK/err" || got=$?
    [ "$got" = "$code" ] || fail "$*: exit code $got, not $code: $(head -2 "$WORK/err")"
    [ "$(wc -l <"$WORK/err")" = 1 ] || fail "$*: $(wc -l <"$WORK/err") lines: $(head -3 "$WORK/err")"
    grep -q -e "$pattern" "$WORK/err" || fail "$*: does not say '$pattern': $(cat "$WORK/err")"
    grep -q '^lockstep: ' "$WORK/err" || fail "$*: says: $(cat "$WORK/err")"
    [ ! -e "$WORK/started" ] || fail "$*: a worker was started"
}
train() { refuse "$1" "$2" "$lockstep" train configs/demo.yaml "${sets[@]}" "${@:3}"; }

refuse 2 "unknown command 'tran' (did you mean train?)" "$lockstep" tran
refuse 2 'unknown option --wrkers (did you mean --workers?)' "$lockstep" train x.yaml --wrkers 2
refuse 2 'wants CONFIG.yaml' "$lockstep" train
refuse 10 "$WORK/none.yaml" "$lockstep" train "$WORK/none.yaml"
refuse 10 "$WORK/none" "$lockstep" inspect "$WORK/none"
refuse 2 'neither a dataset' "$lockstep" verify "$WORK/videos"
train 2 "'0' is not an integer from 1 to 65536" -n 0
train 2 'has 4 micro-batches' -n 5
train 2 'optimization.lrr: unknown key (did you mean optimization.lr?)' --set optimization.lrr=1
train 10 "$WORK/none: no such dataset or list" --set "data.datasets=[$WORK/none]"
"$lockstep" help >"$WORK/out" 2>&1 || fail "help: exit code $?"
sed -n 's/^  \([a-z]*\)  .*/\1/p' "$WORK/out" | grep -v -x -e help -e version >"$WORK/commands"
[ "$(wc -l <"$WORK/commands")" -ge 3 ] || fail "help lists no commands"
while read -r command; do
    "$lockstep" "$command" --help >"$WORK/page" || fail "$command --help: exit code $?"
    grep -q "^usage: lockstep $command " "$WORK/page" || fail "$command --help: no usage line"
done <"$WORK/commands"

# Ten mistakes are ten lines, each with file, line and key; nothing starts.
cat >"$WORK/ten.yaml" <<'EOF'
app: vjepa
nodes: zero
tasks_per_node: -1
folder: run
data:
  datasets: []
  dataset_fpcs: [8]
  batch_siz: 2
  crop_size: 64
  patch_size: 4096
  fps: fast
mask:
- num_blocks: 8
  spatial_scale: [0.5, 0.1]
meta:
  dtype: float17
  seed: 1.5
optimization:
  ema: [0.9]
  epochs: 1
  ipe: 10
EOF
code=0
"$lockstep" train "$WORK/ten.yaml" >"$WORK/out" 2>"$WORK/err" || code=$?
[ "$code" = 2 ] || fail "ten mistakes: exit code $code"
for line in 2 3 6 8 10 11 14 16 17 19; do
    grep -q "$WORK/ten.yaml:$line: " "$WORK/err" || fail "ten mistakes: line $line is not named: $(cat "$WORK/err")"
done
if [ -e "$WORK/started" ] || [ -e run ]; then fail "ten mistakes: something was started"; fi

# Programs that are missing.
refuse 2 'mpirun is not installed.*openmpi-bin' env PATH="$WORK" "$lockstep" train configs/demo.yaml "${sets[@]}"
refuse 2 "$WORK/no-worker: No such file" env LOCKSTEP_WORKER="$WORK/no-worker" "$lockstep" train configs/demo.yaml "${sets[@]}"

refuse 2 'sbatch is not installed' env PATH="$WORK" "$lockstep" submit configs/demo.yaml "${sets[@]}" --set "folder=$WORK/job"
[ -x "$(command -v srun)" ] && refuse 2 'srun works only inside a SLURM job' \
    "$lockstep" train configs/demo.yaml "${sets[@]}" --set lockstep.starter=srun
refuse 2 'slurm.signal: .* for example USR1@120' "$lockstep" submit configs/demo.yaml "${sets[@]}" --set slurm.signal=KILL@5
refuse 2 "'node1:x' is not NAME or NAME:WORKERS" "$lockstep" train configs/demo.yaml "${sets[@]}" --hosts node1:x
refuse 2 'not a run folder' "$lockstep" status "$WORK/videos"
refuse 10 'no such folder' "$lockstep" cancel "$WORK/none"

# Folders that cannot be written.
mkdir "$WORK/disk"
if mount -t tmpfs -o size=32k tmpfs "$WORK/disk" 2>/dev/null; then
    CLEANUP+=("umount '$WORK/disk' 2>/dev/null")
    head -c 100000 /dev/zero >"$WORK/disk/full" 2>/dev/null
    train 10 "$WORK/disk/run.*No space left on device" --set "folder=$WORK/disk/run"
    rm "$WORK/disk/full"
    mount -o remount,ro "$WORK/disk"
    train 10 "$WORK/disk/run: cannot write in the run folder: Read-only file system" --set "folder=$WORK/disk/run"
elif [ "$(id -u)" != 0 ]; then
    mkdir -m 555 "$WORK/disk/run"
    train 10 "$WORK/disk/run: cannot write in the run folder: Permission denied" --set "folder=$WORK/disk/run"
fi

# A second launcher is told who has the run; when that one is gone, nothing is in the way.
"$lockstep" train configs/demo.yaml "${sets[@]}" -n 1 >"$WORK/first.log" 2>&1 &
first=$!
for _ in $(seq 1200); do
    [ -e "$WORK/started" ] && break
    sleep 0.1
done
[ -e "$WORK/started" ] || fail "the first launcher started no worker: $(tail -1 "$WORK/first.log")"
rm "$WORK/started"
train 10 "$WORK/run: the run is in use by process $first on host "
"$lockstep" inspect "$WORK/run" | grep -q "in use by *process $first on host" || fail "inspect does not name the owner"
kill -TERM "$first"
for tries in $(seq 1200); do
    grep -q 'stopping when=' "$WORK/first.log" && break
    [ "$tries" -lt 1200 ] || fail "stopped twice: the first time is not heard: $(tail -1 "$WORK/first.log")"
    sleep 0.1
done
kill -TERM "$first"
code=0
wait "$first" || code=$?
[ "$code" = 1 ] || fail "stopped twice: exit code $code: $(tail -1 "$WORK/first.log")"
grep -q 'stopped at once' "$WORK/first.log" || fail "stopped twice: $(tail -1 "$WORK/first.log")"
[ -z "$(pgrep -f "$WORK/run --run-epoch")" ] || fail "stopped twice: a worker is left"
[ "$(cat "$WORK/run/run-epoch")" = 1 ] || fail "$(cat "$WORK/run/run-epoch") starts are counted, not 1"
"$lockstep" inspect "$WORK/run" | grep -q 'in use by *nobody' || fail "inspect names an owner that is gone"

# Workers that could write no end record, as on a full disk: their exit code tells.
for code in 14 15; do
    cat >"$WORK/worker" <<EOF
#!/bin/sh
echo "2026-11-25T03:40:00Z level=error rank=0 cannot write" >&2
exit $code
EOF
    got=0
    timeout -k 5 60 "$lockstep" train configs/demo.yaml "${sets[@]}" -n 1 --set lockstep.max_restarts=0 \
        >"$WORK/out" 2>"$WORK/err" || got=$?
    [ "$got" = "$code" ] || fail "no end record: exit code $got, not $code: $(tail -1 "$WORK/err")"
    grep -q '^lockstep: a worker failed: .*cannot write' "$WORK/err" || fail "no end record: $(tail -1 "$WORK/err")"
done

# A device that fails in the middle of a run is started again, one that cannot be had is not.
for step in 7 0; do
    cat >"$WORK/worker" <<EOF
#!/bin/sh
mkdir -p "\$1/ends"
end() { echo "{\"rank\":0,\"step\":\$1,\"status\":\"\$2\",\"code\":\$3,\"message\":\"it fell off the bus\"}"; }
if [ "\$3" = 1 ]; then end $step device 12; else end 9 ok 0; fi >"\$1/ends/00000\$3-0000.json"
[ "\$3" != 1 ] || exit 12
EOF
    rm -rf "$WORK/run"
    code=0
    timeout -k 5 60 "$lockstep" train configs/demo.yaml "${sets[@]}" -n 1 >"$WORK/out" 2>"$WORK/err" || code=$?
    case $step/$code/$(cat "$WORK/run/run-epoch") in
    7/0/2 | 0/12/1) ;;
    *) fail "device lost after step $step: exit code $code after $(cat "$WORK/run/run-epoch") starts: $(tail -1 "$WORK/err")" ;;
    esac
    grep -q 'rank 0: it fell off the bus' "$WORK/err" || fail "device lost after step $step: $(tail -1 "$WORK/err")"
done

# cancel signals launchers, not what has a launcher's number by now.
mkdir -p "$WORK/orphans"
sleep 600 &
other=$!
(
    flock 9
    touch "$WORK/orphans/held"
    exec sleep 600
) 9>"$WORK/orphans/lock" &
holder=$!
CLEANUP+=("kill $other $holder 2>/dev/null")
printf '{"state":"running","host":"%s","pid":%d}\n' "$(uname -n)" "$other" >"$WORK/orphans/job.json"
until [ -e "$WORK/orphans/held" ]; do sleep 0.05; done
refuse 1 "its launcher, process $other, is gone" "$lockstep" cancel "$WORK/orphans"
kill -0 "$other" 2>/dev/null || fail "cancel has ended a process that is no launcher"
kill "$other" "$holder"

# A cancelled job that SLURM itself has put back into its queue does not go on.
rm -f "$WORK/started"
cat >"$WORK/worker" <<EOF
#!/bin/sh
touch "$WORK/started"
EOF
mkdir -p "$WORK/cancelled"
echo '{"state":"stopping","job":"7"}' >"$WORK/cancelled/job.json"
: >"$WORK/cancelled/cancel"
code=0
SLURM_JOB_ID=7 SLURM_RESTART_COUNT=1 timeout -k 5 60 "$lockstep" train configs/demo.yaml "${sets[@]}" -n 1 \
    --set "folder=$WORK/cancelled" --requeue >"$WORK/out" 2>"$WORK/err" || code=$?
[ "$code" = 75 ] || fail "cancelled job: exit code $code: $(tail -1 "$WORK/err")"
grep -q 'before=workers_started reason=cancelled' "$WORK/err" || fail "cancelled job: $(tail -1 "$WORK/err")"
[ ! -e "$WORK/started" ] || fail "cancelled job: a worker was started"

# --fresh once is refused where there is a run.
train 2 "$WORK/run holds a run already.*--fresh --fresh" --fresh
[ -e "$WORK/run/config.yaml" ] || fail "--fresh once has removed the run"
pass "every mistake is one line with its code"
