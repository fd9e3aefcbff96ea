#!/usr/bin/env bash
# Installs the Debian or Ubuntu packages that the build, the tests and the checks need and that are not there.
#
#   scripts/setup.sh [GROUP...]           install what is missing of these groups (default: build test lint)
#   scripts/setup.sh --check [GROUP...]   install nothing; list what is missing and exit 1 if anything is
#
# Says nothing and changes nothing when all is there.
set -euo pipefail
cd "$(dirname "$0")/.."

check=0
if [ "${1-}" = --check ]; then
    check=1
    shift
fi
groups=${*:-build test lint}

wanted() {
    awk -v groups=" $groups " '/^#/ || NF == 0 { next } index(groups, " " $1 " ") { print $2 }' scripts/packages.txt
}

for group in $groups; do
    grep -q "^$group " scripts/packages.txt || {
        echo "setup: no group of packages is called '$group' (scripts/packages.txt has: build test lint interop fuzz count)" >&2
        exit 2
    }
done

# Packages that dpkg does not know as installed.  Without dpkg that is all of them.
missing() {
    local installed
    # shellcheck disable=SC2016 # these are fields of dpkg-query
    installed=$(wanted | xargs dpkg-query -W -f='${Package} ${db:Status-Status}\n' 2>/dev/null | sed -n 's/ installed$//p') || true
    wanted | grep -vxF "${installed:-none}" || true
}

lacking=$(missing)
[ -z "$lacking" ] && exit 0
list=$(echo "$lacking" | tr '\n' ' ')
list=${list% }
if [ "$check" = 1 ]; then
    echo "$lacking"
    exit 1
fi

# Libraries can also come from elsewhere (modules of a cluster, another distribution): then what counts is
# whether they can be used.
give_up() {
    if scripts/probe.sh --quiet; then
        echo "setup: $1; all libraries were found all the same, so going on without: $list" >&2
        exit 0
    fi
    echo "setup: $1; ask for these packages to be installed: $list" >&2
    exit 1
}

command -v apt-get >/dev/null || give_up "no apt-get here"
as_root=()
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || give_up "neither root nor sudo"
    as_root=(sudo)
    # Without a terminal nobody can type a password.
    if [ ! -t 0 ]; then
        sudo -n true 2>/dev/null || give_up "not root, and sudo wants a password"
    fi
fi

echo "setup: installing $list"
"${as_root[@]}" apt-get update -qq
mapfile -t packages <<<"$lacking"
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" \
    </dev/null >/tmp/lockstep-setup.$$ 2>&1 || {
    tail -n 20 /tmp/lockstep-setup.$$ >&2
    rm -f /tmp/lockstep-setup.$$
    echo "setup: apt-get install failed (above); packages: $list" >&2
    exit 1
}
rm -f /tmp/lockstep-setup.$$
still=$(missing)
[ -z "$still" ] || {
    echo "setup: apt-get said yes, but these are still missing: $(echo "$still" | tr '\n' ' ')" >&2
    exit 1
}
