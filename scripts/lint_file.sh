#!/usr/bin/env bash
# Checks one C file: format, clang-tidy, cppcheck.  Quiet when all is well.
#
#   scripts/lint_file.sh FILE COMPILER-FLAGS...
set -uo pipefail

file=$1
shift
failed=0

clang-format --dry-run -Werror "$file" 2>&1 | grep -E 'error:' | head -n 3
[ "${PIPESTATUS[0]}" = 0 ] || { echo "$file: not formatted; run \`make format\`"; failed=1; }

case $file in
*.c)
    clang-tidy --quiet "$file" -- "$@" 2>/dev/null || failed=1
    cppcheck --quiet --error-exitcode=1 --enable=warning,performance,portability --inline-suppr --std=c11 -I. \
        --suppress=missingInclude --suppress=missingIncludeSystem --suppress='*:/usr/*' \
        --template='{file}:{line}: {message} [{id}]' "$file" || failed=1
    ;;
esac
exit "$failed"
