#!/usr/bin/env bash
# tests/run.sh counts what happened: cases that pass, fail, are skipped, die, hang or are none, and says which.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
set -eo pipefail

tree=$WORK/tree
mkdir -p "$tree"/tests/{unit,e2e} "$tree"/build/{,asan/}tests
cp tests/run.sh "$tree/tests"
touch "$tree/tests/tsan.txt"

unit() { # NAME, the program on stdin
    touch "$tree/tests/unit/test_$1.c"
    { echo '#!/bin/bash'; cat; } >"$tree/build/tests/test_$1"
    chmod +x "$tree/build/tests/test_$1"
}
shell() { cat >"$tree/tests/e2e/$1.sh"; }
run() { # PART...: the summary line, and the exit status
    status=0
    (cd "$tree" && BUILD=build LOGS='' MAKE=true tests/run.sh "$@") >"$WORK/out" 2>&1 </dev/null || status=$?
    summary=$(tail -n 1 "$WORK/out")
    [ "$(grep -cE '^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$' "$WORK/out")" = 1 ] || fail "not one line of counts: $(cat "$WORK/out")"
}
expect() { # STATUS COUNTS WHAT
    [ "$summary" = "$2" ] || fail "$3: '$summary', not '$2'"
    [ "$status" = "$1" ] || fail "$3: exit status $status"
}

unit two <<'X'
echo "[ RUN      ] a"; echo "[       OK ] a"
echo "[ RUN      ] b"; echo "[  SKIPPED ] b"
echo "[  SKIPPED ] b" >&2
X
shell good <<'X'
exit 0
X
shell absent <<'X'
echo "skipped: no data"
exit 77
X
shell lib <<'X'
exit 1
X
run release shell
expect 0 "2 passed, 0 failed, 2 skipped" "all well"
grep -q '^skipped shell/absent (1): skipped: no data' "$WORK/out" || fail "the reason of a skip is not shown"

unit dies <<'X'
echo "[ RUN      ] a"; echo "[       OK ] a"
echo "[ RUN      ] b"; kill -SEGV $$
X
run release
expect 1 "2 passed, 1 failed, 1 skipped" "a program that dies in a case"
unit dies <<'X'
echo "[ RUN      ] a"; echo "[       OK ] a"
echo "leak found" >&2
exit 23
X
run release
expect 1 "2 passed, 1 failed, 1 skipped" "a program that fails after its cases"
grep -q 'leak found' "$WORK/out" || fail "the output of a failing test is not shown"
unit dies <<'X'
exit 0
X
run release
expect 1 "1 passed, 1 failed, 1 skipped" "a program without cases"
unit dies <<'X'
echo "[ RUN      ] a"; echo "[  FAILED  ] a"
echo "[  FAILED  ] a" >&2
exit 1
X
run release
expect 1 "1 passed, 1 failed, 1 skipped" "a failing case"

shell hangs <<'X'
# timeout: 1
sleep 100
X
shell bad <<'X'
exit 3
X
run shell
expect 1 "1 passed, 2 failed, 1 skipped" "shell tests that fail and hang"
grep -q 'not done after 1 s' "$WORK/out" || fail "a time limit is not said"
[ ! -e "$tree"/tests/e2e/hangs.sh ] || rm "$tree"/tests/e2e/{hangs,bad}.sh

# The build fails: one failure, no test of an old program.
status=0
(cd "$tree" && BUILD=build MAKE=false tests/run.sh release) >"$WORK/out" 2>&1 || status=$?
summary=$(tail -n 1 "$WORK/out")
expect 1 "0 passed, 1 failed, 0 skipped" "a failing build"

shell twice <<'X'
# asan too
[ "${BUILD%/asan}" != "$BUILD" ] || exit 1
X
run shell-asan
expect 0 "1 passed, 0 failed, 0 skipped" "a shell test under ASan"
pass "results are counted as they are"
