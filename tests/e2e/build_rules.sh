#!/usr/bin/env bash
# The Makefile: a second make does nothing, a header rebuilds its users, a file that goes leaves nothing behind, other
# flags rebuild, missing libraries are named once with what to do.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
set -eo pipefail

tree=$WORK/tree
mkdir "$tree"
cp -r Makefile scripts core "$tree"
cd "$tree"
export MAKEFLAGS=
# A make of its own, not part of the one that runs the tests.
unset MAKEFLAGS MAKELEVEL

build() { make -j2 BUILD=out VARIANT=debug "$@" out/debug/obj/libcore.a; }

build >log 2>&1 || fail "core does not build: $(tail -n 3 log)"
build -q || fail "a second make has something to do"

touch core/hash.h
build >log 2>&1
grep -q 'core/hash\.o core/hash\.c' log || fail "touching core/hash.h did not rebuild core/hash.c"
grep -q 'core/clock\.o core/clock\.c' log && fail "touching core/hash.h rebuilt core/clock.c, which does not use it"
build -q || fail "a make after a touched header has something to do"

build -q CFLAGS=-DOTHER && fail "other flags do not rebuild"
build -q CPPFLAGS='-I. -D_GNU_SOURCE -DOTHER' && fail "other preprocessor flags do not rebuild"

printf 'int extra(void);\nint extra(void)\n{\n    return 1;\n}\n' >core/extra.c
build >log 2>&1
ar t out/debug/obj/libcore.a | grep -q extra || fail "a new file is not built"
rm core/extra.c
build >log 2>&1
ar t out/debug/obj/libcore.a | grep -q extra && fail "a file that was removed is still in the library"

mv core/hash.h core/hash2.h
sed -i 's|core/hash\.h|core/hash2.h|' core/*.[ch]
build >log 2>&1 || fail "renaming a header breaks the build: $(tail -n 3 log)"

if PKG_CONFIG_LIBDIR=$WORK make BUILD=other other/release/obj/libcore.a >log 2>&1; then
    fail "builds although pkg-config knows no library"
fi
grep -q "run 'make setup'" log || fail "missing libraries: the error does not say make setup: $(cat log)"
[ "$(wc -l <log)" -le 4 ] || fail "missing libraries: the error has $(wc -l <log) lines"
for target in help clean; do
    PKG_CONFIG_LIBDIR=$WORK make "$target" >log 2>&1 || fail "make $target needs the libraries"
done
pass "build rules hold"
