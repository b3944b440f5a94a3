#!/usr/bin/env bash
# Installs what the tests need and runs them all: scripts/test.sh [arguments of cargo test]
#
# Where something cannot be installed (no root, no apt), this says how to do it and goes on: the tests
# that need it print SKIP and why, or fail where STREAMHUB_TEST_REQUIRE=all.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# command, package of Debian and Ubuntu, what it is for
needs=(
    "cc         gcc        to build SQLite and the fault libraries"
    "mkfs.ext4  e2fsprogs  to make a disk whose power can be cut"
    "bindfs     bindfs     to have a FUSE filesystem that must be refused"
    "mount      mount      to mount those disks"
    "curl       curl       to run the commands of docs/API.md"
    "jq         jq         to read what they print"
    "python3    python3-venv  to ask a server with programs of others"
)

# mkfs and losetup live in sbin, which is not on every user's path.
PATH=$PATH:/usr/sbin:/sbin

say() { printf '%s\n' "$*" >&2; }
have() { command -v "$1" >/dev/null 2>&1; }

packages=()
lines=()
for need in "${needs[@]}"; do
    read -r command package purpose <<<"$need"
    if ! have "$command"; then
        packages+=("$package")
        lines+=("  $command ($package) $purpose")
    fi
done
# A compiler without the C library's headers is there on some images.
if have cc && ! echo '#include <stdio.h>' | cc -E - >/dev/null 2>&1; then
    packages+=(libc6-dev)
    lines+=("  stdio.h (libc6-dev) to build SQLite and the fault libraries")
fi
# So is a Python that makes no environments.
if have python3 && ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
    packages+=(python3-venv)
    lines+=("  venv (python3-venv) to install those programs")
fi

install() {
    local as_root=()
    if ((EUID != 0)); then
        have sudo && sudo -n true 2>/dev/null || return 1
        as_root=(sudo -n)
    fi
    have apt-get || return 1
    "${as_root[@]}" apt-get update -q >&2 || say "apt-get update failed; trying with the lists that are there"
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -q -y --no-install-recommends "${packages[@]}" >&2
}

if ((${#packages[@]})); then
    say "The tests need:"
    say "$(printf '%s\n' "${lines[@]}")"
    if ! install; then
        say "They could not be installed from here. As root, on Debian or Ubuntu:"
        say "  apt-get install ${packages[*]}"
        say "elsewhere install the packages that hold these commands. Tests that need them will say SKIP."
    fi
fi

# What the tests ask a server with comes from PyPI, in the versions of tests/requirements.txt.
environment() {
    local venv=${CARGO_TARGET_DIR:-target}/venv wanted=tests/requirements.txt
    cmp -s "$wanted" "$venv/installed.txt" && return
    rm -rf "$venv"
    mkdir -p "${venv%/*}" && python3 -m venv "$venv" >&2 &&
        "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$wanted" >&2 &&
        cp "$wanted" "$venv/installed.txt"
}
environment || say "What tests/requirements.txt names could not be installed; tests that need it will say SKIP."

have cc || { say "Without a C compiler nothing can be built."; exit 1; }
have cargo || { say "cargo is missing: install Rust from https://rustup.rs, then try again."; exit 1; }
if ((EUID != 0)); then
    say "Not root: tests that mount disks will say SKIP. To run them too: sudo -E env \"PATH=\$PATH\" $0"
fi

# Not --all-features: `explore` is for the model checker alone, which has no locks for other tests.
# Naming packages replaces the whole workspace; anything else narrows it down.
case " $* " in
    *" -p "* | *" --package "*) exec cargo test "$@" ;;
esac
if (($# == 0)); then
    scripts/explore.sh
fi
exec cargo test --workspace "$@"
