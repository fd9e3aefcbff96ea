#!/usr/bin/env bash
# Checks one file: C and CUDA for format, C by clang-tidy and cppcheck, shell by shellcheck.  Quiet when all is well.
#
#   scripts/lint_file.sh FILE COMPILER-FLAGS...
set -uo pipefail

file=$1
shift
failed=0

case $file in
*.c | *.h | *.cu | *.cuh | *.cpp)
    clang-format --dry-run -Werror "$file" 2>/dev/null || {
        echo "$file: not formatted; run \`make format\`"
        failed=1
    }
    ;;
*)
    # SC2119: a function with optional arguments may be called without any.
    shellcheck -x -e SC2119 "$file" || failed=1
    ;;
esac
case $file in
*.c)
    clang-tidy --quiet "$file" -- "$@" 2>/dev/null || failed=1
    cppcheck --quiet --error-exitcode=1 --enable=warning,performance,portability --inline-suppr --std=c11 -I. \
        '-DcJSON_ArrayForEach(e,a)=while((e=(a)->next)!=0)' \
        --suppress=missingInclude --suppress=missingIncludeSystem --suppress='*:/usr/*' \
        --template='{file}:{line}: {message} [{id}]' "$file" || failed=1
    ;;
esac
exit "$failed"
