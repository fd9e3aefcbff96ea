#!/usr/bin/env bash
# The set-up: silent where all is there, names what is not, knows every library the build asks for, and says one line
# where it may not install.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
set -eo pipefail

command -v dpkg-query >/dev/null || skip "not a Debian or Ubuntu machine"
scripts/setup.sh --check build test || fail "setup.sh --check says that packages of this build are missing (above)"
text=$(scripts/setup.sh build test 2>&1) || fail "setup.sh fails where nothing is missing: $text"
[ -z "$text" ] || fail "setup.sh speaks where nothing is missing: $text"

# Each library that the Makefile asks pkg-config for, and oneDNN's header and mpirun, come from a listed package.
owner() { dpkg-query -S "$(readlink -f "$1")" | sed -n '1s/:.*//p'; }
listed() { grep -qE "^(build|test) $(owner "$1")\$" scripts/packages.txt || fail "$1: its package $(owner "$1") is not in scripts/packages.txt"; }
# shellcheck disable=SC2013 # words
for name in $(sed -n 's/^PACKAGES := //p' Makefile) cmocka; do
    folder=$(pkg-config --variable=pcfiledir "$name")
    [ -n "$folder" ] || fail "pkg-config does not know $name"
    listed "$folder/$name.pc"
done
listed "$(find /usr/include -name dnnl.h -not -path '*/oneapi/*' | head -n 1)"
listed "$(command -v mpirun)"
listed "$(command -v pkg-config)"

# A machine on which one package is missing: a false dpkg-query that does not know it, and no right to install.
mkdir "$WORK/bin"
cat >"$WORK/bin/dpkg-query" <<'EOF'
#!/bin/sh
/usr/bin/dpkg-query "$@" | grep -v '^libyaml-dev '
EOF
printf '#!/bin/sh\necho 1000\n' >"$WORK/bin/id"
printf '#!/bin/sh\nexit 1\n' >"$WORK/bin/sudo"
printf '#!/bin/sh\necho "apt-get $*" >>"%s"\n' "$WORK/apt.log" >"$WORK/bin/apt-get"
chmod +x "$WORK"/bin/*
export PATH=$WORK/bin:$PATH
[ "$(scripts/setup.sh --check build || true)" = libyaml-dev ] || fail "--check does not name libyaml-dev"
text=$(scripts/setup.sh build 2>&1 </dev/null) || fail "does not go on with libraries that work: $text"
grep -q 'libyaml-dev' <<<"$text" || fail "does not say what is missing: $text"
status=0
text=$(PKG_CONFIG_LIBDIR=$WORK scripts/setup.sh build 2>&1 </dev/null) || status=$?
[ "$status" = 1 ] || fail "exit status $status without the right to install"
[ "$(wc -l <<<"$text")" = 1 ] || fail "more than one line without the right to install: $text"
[ ! -e "$WORK/apt.log" ] || fail "called apt-get without the right to install"

# As root it installs just that package, after an update.
printf '#!/bin/sh\necho 0\n' >"$WORK/bin/id"
scripts/setup.sh build >/dev/null 2>&1 </dev/null || true
grep -q '^apt-get update' "$WORK/apt.log" || fail "no apt-get update before the installation"
grep -qE '^apt-get install .*[^ ]* libyaml-dev$' "$WORK/apt.log" || fail "does not install libyaml-dev alone: $(cat "$WORK/apt.log")"
pass "set-up holds"
