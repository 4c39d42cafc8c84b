#!/bin/sh
# Makes this checkout runnable on Debian: packages from apt, then .venv from the locked, hashed dependencies.
#
#   scripts/setup.sh run      what the program needs
#   scripts/setup.sh test     that, and what the tests need
#   scripts/setup.sh check    only what lint and types need
#
# A second run finds everything and ends in a fraction of a second. Nothing that is installed is upgraded, and
# no service is restarted.
set -eu

# The one list of Debian packages. setpriv, flock and unshare are in util-linux, which every Debian has.
check_packages="python3-venv shellcheck"
run_packages="python3-venv python3-bpfcc postgresql wireguard-tools wireguard-go nftables iproute2 kmod procps ca-certificates"
test_packages="shellcheck tmux zbar-tools busybox-static debootstrap iperf3 iputils-ping tcpdump strace git cpio"

cd "$(dirname "$0")/.."
mode=${1:-run}
architecture=$(dpkg --print-architecture 2>/dev/null || echo unknown)
log=$(mktemp "${TMPDIR:-/tmp}/nexushub-setup.XXXXXX")
no_cluster=/etc/postgresql-common/createcluster.d/nexushub-no-main-cluster.conf
kernel_cache=/var/cache/nexushub/kernel
export LC_ALL=C.UTF-8

say() { printf '%s\n' "set-up: $*" >&2; }

die() {
    say "$*"
    exit 1
}

tidy() {
    rm -f "$log"
    [ -z "${wrote_no_cluster:-}" ] || rm -f "$no_cluster"
}
trap tidy EXIT
trap 'exit 130' INT TERM

# Seconds since the process started, with one decimal, without a program.
now() {
    read -r up _ </proc/uptime
    printf '%s' "${up%.*}${up#*.}"
}

took() {
    hundredths=$(($(now) - $1))
    printf '%d.%d s' $((hundredths / 100)) $((hundredths % 100 / 10))
}

# One sentence for what stopped apt or pip, from its own words in the log; the last of them if they are unknown.
reason() {
    # Not every program says so: ensurepip only says that it failed.
    if [ "$(df -Pm . / /var | awk 'NR > 1 && $4 < 50' | wc -l)" -gt 0 ] || grep -q -e 'No space left on device' -e "don't have enough free space" "$log"; then
        echo "the disk is full: about 2 GB must be free in / and in $PWD."
    elif grep -q -e 'Could not get lock' -e 'Unable to lock' "$log"; then
        echo "another package manager is at work; wait for it, then run the same command again."
    elif grep -q 'dpkg was interrupted' "$log"; then
        echo "an earlier installation was cut off; type: dpkg --configure -a"
    elif grep -q 'DO NOT MATCH THE HASHES' "$log"; then
        echo "a downloaded Python package is not the one that requirements.lock names, so nothing of it was used."
    elif grep -q -e 'Temporary failure resolving' -e 'Could not resolve' -e 'Could not connect' -e 'Failed to fetch' \
        -e 'Cannot initiate the connection' -e 'NewConnectionError' -e 'Name or service not known' \
        -e 'No matching distribution' -e 'Could not find a version' -e 'Unable to locate package' "$log"; then
        echo "$1 could not be reached, or lacks a package; check the network and /etc/apt/sources.list, then run the same command again."
    else
        grep -v '^[[:space:]]*$' "$log" | tail -n 1
    fi
}

need_root() {
    [ "$(id -u)" -eq 0 ] && return
    case $mode in
        run) die "make run installs packages and makes network interfaces, which only root may do. Type: sudo make run" ;;
        test) die "make test installs packages and makes network namespaces, which only root may do. Type: sudo make test" ;;
        *) die "these packages are missing, and only root may install them:$1. Type: sudo apt-get install$1" ;;
    esac
}

installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

wanted_packages() {
    case $mode in
        check) echo "$check_packages" ;;
        run) echo "$run_packages" ;;
        test)
            echo "$run_packages $test_packages"
            [ "$architecture" != amd64 ] || echo qemu-system-x86
            ;;
    esac
}

# dpkg-query once for all: a call for each package would take longer than everything else in a second run.
missing_packages() {
    # A list of words.
    # shellcheck disable=SC2046
    set -- $(wanted_packages)
    have=" $(dpkg-query -W -f '${db:Status-Status}=${Package} ' "$@" 2>/dev/null || true)"
    for package in "$@"; do
        case $have in
            *" installed=$package "*) ;;
            *) printf ' %s' "$package" ;;
        esac
    done
}

# BCC compiles against kernel headers. Those of another version do, where none match the running kernel.
have_headers() { [ -e "/lib/modules/$(uname -r)/build" ] || ls -d /usr/src/linux-headers-*-common >/dev/null 2>&1; }

headers_package() {
    for package in "linux-headers-$(uname -r)" "linux-headers-cloud-$architecture" "linux-headers-$architecture"; do
        if [ -n "$(apt-cache search --names-only "^$package\$")" ]; then
            printf ' %s' "$package"
            return
        fi
    done
    die "Debian's package servers have no kernel headers for $(uname -r) or any $architecture kernel; check /etc/apt/sources.list."
}

apt() {
    DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 apt-get -q -y -o DPkg::Lock::Timeout=300 \
        -o Dpkg::Options::=--force-confold "$@" </dev/null >>"$log" 2>&1
}

install_packages() {
    missing=$(missing_packages)
    headers=no
    [ "$mode" = check ] || have_headers || headers=yes
    [ -n "$missing" ] || [ $headers = yes ] || return 0
    need_root "$missing"
    began=$(now)
    say "reading Debian's package lists"
    apt update || die "$(reason "Debian's package servers")"
    [ $headers = no ] || missing="$missing$(headers_package)"
    # Debian's package would start a server of its own on port 5432, which nobody here asked for. Said only for
    # this installation: a server that the administrator installs later is set up as Debian does it.
    if ! installed postgresql-common && [ ! -e "$no_cluster" ]; then
        wrote_no_cluster=yes
        mkdir -p "${no_cluster%/*}"
        echo "create_main_cluster = false" >"$no_cluster"
    fi
    say "installing$missing (one to three minutes)"
    # A list of words.
    # shellcheck disable=SC2086
    apt install --no-install-recommends --no-upgrade $missing || die "$(reason "Debian's package servers")"
    say "packages installed in $(took "$began")"
}

# The kernel that the tests boot in QEMU is unpacked, not installed: installing one would make an initrd and could
# change what this machine boots.
fetch_test_kernel() {
    [ "$architecture" = amd64 ] || return 0
    [ ! -e "$kernel_cache/complete" ] || return 0
    began=$(now)
    say "fetching Debian's kernel for the tests that boot one in QEMU"
    rm -rf "$kernel_cache"
    mkdir -p "$kernel_cache/download"
    [ -n "$(apt-cache search --names-only '^linux-image-cloud-amd64$')" ] || apt update || die "$(reason "Debian's package servers")"
    package=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/^ *Depends: //p' | head -n 1)
    [ -n "$package" ] || die "Debian's package servers have no linux-image-cloud-amd64; check /etc/apt/sources.list."
    # The user _apt can't write here; as root apt-get says so in a warning and downloads all the same.
    (cd "$kernel_cache/download" && apt download "$package") || die "$(reason "Debian's package servers")"
    dpkg -x "$kernel_cache"/download/*.deb "$kernel_cache" || die "the disk is full: 400 MB must be free in /var."
    rm -r "$kernel_cache/download"
    depmod -b "$kernel_cache" "$(ls "$kernel_cache/lib/modules")"
    : >"$kernel_cache/complete"
    say "kernel ${package#linux-image-} in $(took "$began")"
}

fill_venv() {
    [ -x /usr/bin/python3 ] || die "/usr/bin/python3 is missing; type: apt-get install python3"
    version=$(/usr/bin/python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    case $version in
        3.11 | 3.12 | 3.13 | 3.14) ;;
        *) die "/usr/bin/python3 is Python $version; NexusHub needs 3.11 or newer, which Debian 12 and later have." ;;
    esac
    stamp="$version $PWD $(sha256sum requirements.lock scripts/setup.sh | cut -d ' ' -f 1 | tr '\n' ' ')"
    if [ "$(cat .venv/nexushub-stamp 2>/dev/null || true)" = "$stamp" ] && [ -x .venv/bin/python ]; then return; fi
    began=$(now)
    say "installing the Python packages of requirements.lock into .venv (up to two minutes)"
    # BCC is a package of Debian's Python, so the venv must be one of that same Python.
    [ "$(readlink -f .venv/bin/python 2>/dev/null)" = "$(readlink -f /usr/bin/python3)" ] || rm -rf .venv
    : >"$log"
    [ -x .venv/bin/pip ] || /usr/bin/python3 -m venv .venv >>"$log" 2>&1 || die "$(reason 'The Python package index')"
    rm -f .venv/nexushub-stamp
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps \
        --only-binary :all: -r requirements.lock >>"$log" 2>&1 </dev/null || die "$(reason 'The Python package index')"
    site=".venv/lib/python$version/site-packages"
    # Only BCC comes from the system: everything else there is of another age than the lock.
    ln -sfn /usr/lib/python3/dist-packages/bcc "$site/bcc"
    printf '%s\n' "$PWD" >"$site/nexushub-checkout.pth"
    printf '#!%s/.venv/bin/python -I\nimport sys\n\nfrom nexushub.__main__ import main\n\nsys.exit(main())\n' "$PWD" >.venv/bin/nexushub
    chmod 755 .venv/bin/nexushub
    printf '%s' "$stamp" >.venv/nexushub-stamp
    # With sudo, the checkout's owner keeps what is in it.
    [ "$(id -u)" -ne 0 ] || chown -hR --reference=. .venv
    say "Python packages installed in $(took "$began")"
}

case $mode in
    run | test) need_root "" ;;
    check) ;;
    *) die "usage: scripts/setup.sh run|test|check" ;;
esac
command -v apt-get >/dev/null || die "this is not Debian: apt-get is missing. README.md says what to install by hand."
all=$(now)
install_packages
[ "$mode" != test ] || fetch_test_kernel
fill_venv
say "ready in $(took "$all")"
