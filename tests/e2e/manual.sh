#!/usr/bin/env bash
# timeout: 200
# docs/lockstep.1 is what the command line's tables make, renders without a warning and names every option; the completion
# of bash offers what the parser takes.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
lockstep=$BUILD/lockstep
need_program "$lockstep"

"$lockstep" help --man >"$WORK/lockstep.1" || fail "help --man"
cmp -s "$WORK/lockstep.1" docs/lockstep.1 || fail "docs/lockstep.1 is not of these tables: make manual"
"$lockstep" help --bash >"$WORK/completion" || fail "help --bash"
# shellcheck source=/dev/null
. "$WORK/completion"

# offered WORD...: what the last word of a command line can become.
offered() {
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
    _lockstep
    printf '%s\n' "${COMPREPLY[@]}"
}
mapfile -t commands < <("$lockstep" help | sed -n 's/^  \([a-z]*\) .*/\1/p')
[ ${#commands[@]} -gt 10 ] || fail "help lists ${#commands[@]} commands"
[ "$(offered lockstep '' | sort)" = "$(printf '%s\n' "${commands[@]}" | sort)" ] || fail "commands: $(offered lockstep '' | tr '\n' ' ')"
count=0
for command in "${commands[@]}"; do
    case $command in help | version) continue ;; esac
    mapfile -t options < <("$lockstep" "$command" --help | sed -n 's/^  \(-., \)\?--\([a-z0-9-]*\).*/--\2/p')
    [ "$(offered lockstep "$command" -- | sort)" = "$(printf '%s\n' "${options[@]}" | sort)" ] || fail "$command: $(offered lockstep "$command" -- | tr '\n' ' ')"
    for option in "${options[@]}"; do
        [ "$option" = --help ] || grep -qF -- "${option//-/\\-}" docs/lockstep.1 || fail "$command $option is not on the page"
        count=$((count + 1))
    done
done
"$lockstep" --version | grep -Eqx 'lockstep [0-9.]+ commit ([0-9a-f]{12}[+]?|unknown) [a-z]+ (cuda|emulated|none)' || fail "version: $("$lockstep" --version)"
[ "$(offered lockstep pack --store pa)" = packets ] || fail "pack --store pa: $(offered lockstep pack --store pa)"
[ "$(offered lockstep train --set optimization.weight)" = "optimization.weight_decay=" ] ||
    fail "train --set optimization.weight: $(offered lockstep train --set optimization.weight)"
if command -v man >/dev/null && man --warnings -l docs/lockstep.1 >"$WORK/page" 2>"$WORK/warnings"; then
    [ ! -s "$WORK/warnings" ] || fail "the page: $(head -1 "$WORK/warnings")"
    shown=rendered
else
    shown="not rendered, no man here"
fi
pass "${#commands[@]} commands, $count options; the page is $shown"
