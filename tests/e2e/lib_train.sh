# What the training tests share: packed videos, runs of tests/e2e/tiny.yaml, and what they left.
# shellcheck shell=bash
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
lockstep=$BUILD/lockstep
steps=60
[ "$DEVICE" != emulated ] || steps=30 # one takes a second
need_program "$lockstep"
need_program "$WORKER"
need_shared videos/clean

# pack_once NAME ARGUMENT...: a dataset, which the other tests of the same tests/run.sh take too, as $WORK/clean.
pack_once() {
    local kept=${TESTS_TMP:-$WORK}/packed-$1
    shift
    {
        flock 9
        if [ ! -e "$kept/whole" ]; then
            "$lockstep" pack "$@" -o "$kept/clean" >"$WORK/pack.log" 2>&1 || fail "pack: $(tail -1 "$WORK/pack.log")"
            touch "$kept/whole"
        fi
    } 9>"$kept.lock"
    cp -r "$kept/clean" "$WORK/clean"
}
# pack_clean: real videos, without those of large pictures: decoding them would take most of a run's time.
pack_clean() {
    local videos
    mapfile -t videos < <(find "$SHARED/videos/clean" -type f | grep -v -e 720p -e 1080p -e webcam_av1 -e flower -e cars_road -e friday \
        -e bikes -e hmdb_wave_a | sort)
    pack_once clean "${videos[@]}"
}

# pack_frames: the ten smallest of them as small stored frames, under the same name: steps then wait for no decoder.
pack_frames() {
    local videos
    mapfile -t videos < <(find "$SHARED/videos/clean" -type f -printf '%s %p\n' | sort -n | head -10 | cut -d ' ' -f 2-)
    pack_once frames "${videos[@]}" --store frames --frame-side 80
}

# train RUN WORKERS [OPTION...]: `lockstep train` of the tiny config, its output in RUN.log.
train() {
    local run=$1 workers=$2
    shift 2
    timeout -k 10 $((steps * 10)) "$lockstep" train tests/e2e/tiny.yaml -n "$workers" "${device_options[@]}" \
        --set "folder=$WORK/$run" --set "data.datasets=[$WORK/clean]" --set "optimization.steps=$steps" "$@" >>"$WORK/$run.log" 2>&1
}

# train_all RUN WORKERS [OPTION...]: the same, and it must reach its end.
train_all() {
    local code=0
    train "$@" || code=$?
    [ "$code" = 0 ] || fail "run $1: exit code $code: $(tail -1 "$WORK/$1.log")"
    check_metrics "$1"
}

steps_of() { # RUN: lines of metrics so far
    local lines=0
    [ -e "$WORK/$1/metrics.jsonl" ] && lines=$(wc -l <"$WORK/$1/metrics.jsonl")
    echo "$lines"
}

# wait_for_step RUN STEP: until that many steps are in the metrics of a run in the background.
wait_for_step() {
    local tries
    for tries in $(seq 30000); do
        [ "$(steps_of "$1")" -ge "$2" ] && return
        sleep 0.02
    done
    fail "run $1 did not reach step $2 ($tries looks): $(tail -1 "$WORK/$1.log")"
}

# wait_for_signal PROCESS: until a signal waits for this stopped process.
wait_for_signal() {
    local tries
    for tries in $(seq 3000); do
        grep -q '^ShdPnd:[[:space:]]*0*[1-9a-f]' "/proc/$1/status" && return
        sleep 0.05
    done
    fail "process $1 got no signal ($tries looks)"
}

# wait_for_stopped RUN: until one of its workers is stopped (SIGSTOP); its process id.
wait_for_stopped() {
    local process tries
    for tries in $(seq 3000); do
        for process in $(workers_of "$1"); do
            grep -qs '^State:[[:space:]]*T' "/proc/$process/status" && echo "$process" && return
        done
        sleep 0.1
    done
    echo "$tries looks" >&2
    return 1
}

# workers_of RUN: process ids of its workers.
workers_of() {
    local process words
    for process in /proc/[0-9]*; do
        mapfile -d '' -t words 2>/dev/null <"$process/cmdline" || continue
        case "${words[0]:-} ${words[1]:-}" in
        *"lockstep-worker $WORK/$1") echo "${process#/proc/}" ;;
        esac
    done
}

# launcher_of RUN: process id of the `lockstep train` that runs it.
launcher_of() {
    local process words
    for process in /proc/[0-9]*; do
        mapfile -d '' -t words 2>/dev/null <"$process/cmdline" || continue
        case "${words[*]}" in
        "$lockstep train "*" folder=$WORK/$1 "*) echo "${process#/proc/}" ;;
        esac
    done
}

digest() { # RUN [CHECKPOINT]
    "$lockstep" inspect "$WORK/$1/checkpoints/${2:-latest}" --json |
        sed -n 's/.*"digest": *"\([0-9a-f]*\)".*/\1/p' | head -1
}

# check_metrics RUN: all steps, each once and in order.
check_metrics() {
    local held
    held=$(sed 's/^{"step":\([0-9]*\),.*}$/\1/' "$WORK/$1/metrics.jsonl" | tr '\n' ' ')
    [ "$held" = "$(seq -s ' ' "$steps") " ] || fail "run $1: metrics hold the steps $held"
}

# same_digest A B: both runs ended in the same state.
same_digest() {
    local a b
    a=$(digest "$1")
    b=$(digest "$2")
    if [ -z "$a" ] || [ "$a" != "$b" ]; then
        fail "runs $1 and $2 end with digests '$a' and '$b'"
    fi
}

# same_values A B: the same results, whatever the times, in every line of the metrics.
same_values() {
    local strip='s/"\(clips_per_s\|flops_per_s\|step_s\|data_wait_s\|comm_wait_s\|rank_wait_s\)":[^,}]*//g'
    diff <(sed "$strip" "$WORK/$1/metrics.jsonl") <(sed "$strip" "$WORK/$2/metrics.jsonl") \
        >"$WORK/diff" || fail "metrics of $1 and $2 differ: $(sed -n 2p "$WORK/diff" | cut -c1-200)"
}
