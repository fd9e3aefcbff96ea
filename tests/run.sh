#!/usr/bin/env bash
# Builds and runs the tests and ends with one line, `N passed, N failed, N skipped`.
#
#   tests/run.sh [PART...]     default: all but cluster, shell-emulated, cuda and shell-cuda
#
# Environment: ONLY=PATTERN runs the tests whose name matches it; TEST_JOBS how many at a time (2);
# BUILD, SHARED, MAKE as the Makefile passes them.
#
# release     every tests/unit/test_*.c
# asan        the same under AddressSanitizer and UndefinedBehaviorSanitizer
# tsan        those listed in tests/tsan.txt under ThreadSanitizer
# shell       tests/e2e/*.sh (not lib*.sh): exit status 0 passed, 77 skipped, else failed.  Comment lines of the script:
#             `# timeout: SECONDS` sets a limit other than 300; `# alone` keeps other tests away while it runs;
#             `# asan too` makes it part of shell-asan, `# emulated too` of shell-emulated
# cluster     tests/cluster/*.sh that are tests (their first comment has a timeout), like shell; a few faults of them are
#             in tests/e2e/cluster_faults.sh too
# shell-asan  those once more with BUILD being the folder of the ASan + UBSan programs, three times the limit
# emulated    the tests of the emulator, those of the operators and of sums between cards, under ASan + UBSan
# emulated-reverse  the same, the threads and blocks of a kernel running in reverse order
# shell-emulated    those shell tests once more with DEVICE=emulated, five times the limit
# cuda        the tests of `emulated` that are not of the emulator itself, and those of tests/cuda, on a real card
# shell-cuda  the tests of shell-emulated with DEVICE=cuda
#
# A shell test gets BUILD (build folder), SHARED (test data, may be absent), TMPDIR (its own, removed afterwards).
# Every case of a unit test counts, and one that was running when its program died counts as failed.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

BUILD=${BUILD:-build}
SHARED=${SHARED:-../shared}
MAKE=${MAKE:-make -j$(nproc)}
ONLY=${ONLY:-}
TEST_JOBS=${TEST_JOBS:-2}
LOGS=$BUILD/test-logs
export BUILD SHARED LOGS

# Several ranks share the cores here, and the user may be root (a container).
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_hwloc_base_binding_policy=none OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_mpi_yield_when_idle=1
export OMP_WAIT_POLICY=passive
export ASAN_OPTIONS=detect_leaks=1:abort_on_error=0
export UBSAN_OPTIONS=print_stacktrace=1
export LSAN_OPTIONS=suppressions=$PWD/tests/support/leaks.supp:print_suppressions=0
export TSAN_OPTIONS=suppressions=$PWD/tests/support/races.supp:halt_on_error=1

# What a shell test says of itself: its first comment.  Tests of this script hold other such lines further down.
script_of() { # NAME
    local script=tests/e2e/$1.sh
    [ -e "$script" ] || script=tests/cluster/$1.sh
    echo "$script"
}
head_of() { # NAME
    sed '/^#/!q' "$(script_of "$1")"
}
has_line() { # NAME TEXT: the shell test has this comment
    head_of "$1" | grep -qx "# $2"
}

limit_of() { # PART NAME
    case $1 in
    release) echo 60 ;;
    asan | tsan | emulated | emulated-reverse | cuda) echo 180 ;;
    shell | cluster) head_of "$2" | sed -n 's/^# timeout: \([0-9]*\)$/\1/p' | grep . || echo 300 ;;
    shell-asan) echo $((3 * $(limit_of shell "$2"))) ;;
    shell-emulated | shell-cuda) echo $((5 * $(limit_of shell "$2"))) ;;
    esac
}

command_of() { # PART NAME
    case $1 in
    release) echo "$BUILD/tests/$2" ;;
    asan | tsan) echo "$BUILD/$1/tests/$2" ;;
    shell | cluster) echo "bash $(script_of "$2")" ;;
    shell-asan) echo "env BUILD=$BUILD/asan bash tests/e2e/$2.sh" ;;
    shell-emulated) echo "env DEVICE=emulated bash tests/e2e/$2.sh" ;;
    shell-cuda) echo "env DEVICE=cuda bash tests/e2e/$2.sh" ;;
    cuda) echo "env LOCKSTEP_TEST_DEVICE=cuda $BUILD/tests/$2" ;;
    emulated) echo "env LOCKSTEP_TEST_DEVICE=emulated $BUILD/emulated/tests/$2" ;;
    emulated-reverse) echo "env EMULATOR_ORDER=reverse LOCKSTEP_TEST_DEVICE=emulated $BUILD/emulated/tests/$2" ;;
    esac
}

# Run one test and leave "PASSED FAILED SKIPPED SECONDS" in its .result.
run_one() { # PART/NAME
    local part=${1%%/*} name=${1#*/} limit status begin passed=0 failed=0 skipped=0
    local log=$LOGS/$part/$name
    limit=$(limit_of "$part" "$name")
    begin=$(date +%s.%N)
    mkdir -p "$TESTS_TMP/$part-$name"
    # shellcheck disable=SC2046 # a command with arguments, without spaces in them
    TMPDIR=$TESTS_TMP/$part-$name timeout --kill-after=10 "$limit" $(command_of "$part" "$name") \
        >"$log.out" 2>"$log.err" </dev/null
    status=$?
    rm -rf "${TESTS_TMP:?}/$part-$name"
    if [[ $part = shell* || $part = cluster ]]; then
        case $status in
        0) passed=1 ;;
        77) skipped=1 ;;
        *) failed=1 ;;
        esac
    else
        passed=$(grep -c '^\[       OK \] ' "$log.out")
        skipped=$(grep -c '^\[  SKIPPED \] ' "$log.out")
        failed=$(($(grep -c '^\[ RUN      \] ' "$log.out") - passed - skipped))
        # Died outside of a case, or ran none.
        if [ "$failed" = 0 ] && { [ "$status" != 0 ] || [ $((passed + skipped)) = 0 ]; }; then
            failed=1
        fi
    fi
    if [ "$failed" != 0 ]; then
        case $status in
        124 | 137) echo "(not done after $limit s)" >>"$log.err" ;;
        *) echo "(exit status $status)" >>"$log.err" ;;
        esac
    fi
    echo "$passed $failed $skipped $(date +%s.%N | awk -v b="$begin" '{ printf "%.1f", $1 - b }')" >"$log.result"
    if [ "$failed" != 0 ]; then
        { # one write, so that two failing tests do not mix
            echo "FAILED $part/$name; its output:"
            tail -n 60 "$log.out" "$log.err" 2>&1 | sed 's/^/    /'
        } >"$log.report"
        cat "$log.report"
    fi
}

if [ "${1-}" = --one ]; then
    run_one "$2"
    exit 0
fi

finish() { # PASSED FAILED SKIPPED
    echo "$1 passed, $2 failed, $3 skipped"
    [ "$2" = 0 ]
    exit
}

build() { # VARIANT TARGET...
    local log=$LOGS/build-$1.log
    echo "building ($1)"
    # shellcheck disable=SC2086 # MAKE is a command with arguments
    if ! $MAKE VARIANT="$1" BUILD="$BUILD" "${@:2}" >"$log" 2>&1; then
        echo "FAILED build-$1; its output:"
        { grep -E -A 6 'error|warning|\*\*\*' "$log" || cat "$log"; } | head -n 60 | sed 's/^/    /'
        finish 0 1 0
    fi
    grep -E -A 6 'warning:' "$log" | head -n 40
}

# The emulated build, once, where there are CUDA headers for it.
emulated_built=
build_emulated() {
    [ -z "$emulated_built" ] || return
    emulated_built=no
    [ -e "${CUDA_HOME:-/usr/local/cuda}/include/cublasLt.h" ] || return
    local tests=(tests/emulated/test_*.cu tests/unit/test_op_*.c tests/unit/test_comm_device.c tests/unit/test_probe.c)
    tests=("${tests[@]##*/}")
    tests=("${tests[@]%.*}")
    build emulated programs "${tests[@]/#/$BUILD/emulated/tests/}"
    emulated_built=yes
}

names() { # files
    local file
    for file in "$@"; do
        file=${file##*/}
        file=${file%.*}
        [[ $file != lib* ]] || continue
        if [ -z "$ONLY" ] || [[ $file =~ $ONLY ]]; then
            echo "$file"
        fi
    done
}

shopt -s nullglob
rm -rf "$LOGS"
mkdir -p "$LOGS"
LOGS=$(cd "$LOGS" && pwd)
TESTS_TMP=$(mktemp -d /tmp/lockstep-test.XXXXXX)
export LOGS TESTS_TMP
trap 'rm -rf "$TESTS_TMP"' EXIT
trap 'exit 130' INT TERM

parts=${*:-release asan tsan shell shell-asan emulated emulated-reverse}
together=()
alone=()
for part in $parts; do
    mkdir -p "$LOGS/$part"
    case $part in
    release | asan)
        mapfile -t found < <(names tests/unit/test_*.c)
        build "$part" tests
        ;;
    tsan)
        mapfile -t listed < <(grep -v '^#' tests/tsan.txt)
        mapfile -t found < <(names "${listed[@]}")
        [ ${#found[@]} = 0 ] || build tsan "${found[@]/#/$BUILD/tsan/tests/}"
        ;;
    shell)
        mapfile -t found < <(names tests/e2e/*.sh)
        build release programs tests
        build_emulated
        ;;
    shell-emulated)
        mapfile -t found < <(names tests/e2e/*.sh)
        build release programs
        build_emulated
        ;;
    cuda)
        mapfile -t found < <(names tests/cuda/test_*.c tests/unit/test_op_*.c tests/unit/test_comm_device.c tests/unit/test_probe.c)
        [ ${#found[@]} = 0 ] || build release "${found[@]/#/$BUILD/tests/}"
        ;;
    shell-cuda)
        mapfile -t found < <(names tests/e2e/*.sh)
        build release programs
        ;;
    emulated | emulated-reverse)
        build_emulated
        mapfile -t found < <(names tests/emulated/test_*.cu tests/unit/test_op_*.c tests/unit/test_comm_device.c tests/unit/test_probe.c)
        if [ "$emulated_built" = no ]; then
            echo "no CUDA headers: $part is left out (${#found[@]} programs)"
            found=()
        fi
        ;;
    cluster)
        mapfile -t found < <(grep -l '^# timeout: ' tests/cluster/*.sh)
        mapfile -t found < <(names "${found[@]}")
        build release programs
        ;;
    shell-asan)
        mapfile -t found < <(names tests/e2e/*.sh)
        build asan programs
        ;;
    *)
        echo "run.sh: no part is called '$part'" >&2
        exit 2
        ;;
    esac
    for name in "${found[@]}"; do
        case $part in
        shell* | cluster)
            like=${part#shell-} # what a real card runs is what the emulated one runs
            [[ $part != shell-* ]] || has_line "$name" "${like/cuda/emulated} too" || continue
            if has_line "$name" alone; then
                alone+=("$part/$name")
                continue
            fi
            ;;
        esac
        together+=("$part/$name")
    done
done

echo "running $((${#together[@]} + ${#alone[@]})) test programs, $TEST_JOBS at a time; logs in ${LOGS#"$PWD"/}/"
printf '%s\n' "${together[@]}" | xargs -r -n 1 -P "$TEST_JOBS" tests/run.sh --one
printf '%s\n' "${alone[@]}" | xargs -r -n 1 tests/run.sh --one

# What was skipped, with its reason where it gave one.
for result in "$LOGS"/*/*.result; do
    read -r _ _ skipped _ <"$result"
    [ "$skipped" = 0 ] && continue
    name=${result#"$LOGS"/}
    name=${name%.result}
    reason=$(grep -h -i -m 1 skip "${result%.result}.err" "${result%.result}.out" | grep -v '^\[' | head -n 1)
    echo "skipped $name ($skipped)${reason:+: $reason}"
done
for result in "$LOGS"/*/*.result; do
    echo "$(cat "$result") ${result#"$LOGS"/}"
done | sort -k4 -nr >"$LOGS/times.txt"
read -r passed failed skipped < <(awk '{ p += $1; f += $2; s += $3 } END { print p + 0, f + 0, s + 0 }' "$LOGS/times.txt")
# A test program that left no result was lost.
lost=$((${#together[@]} + ${#alone[@]} - $(find "$LOGS" -name '*.result' | wc -l)))
finish "$passed" $((failed + lost)) "$skipped"
