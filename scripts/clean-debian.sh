#!/bin/bash
# Proves the two commands from nothing: makes a minimal Debian 12 with git and make, clones this repository's last
# commit into it, and times `make run` until the TUI is on the screen and `make test` until it ends.
#
#   scripts/clean-debian.sh               both, each in a root of its own
#   scripts/clean-debian.sh run|test      one of them
#   scripts/clean-debian.sh setup|check   only scripts/setup.sh test, only make check
#
# Needs root, debootstrap and tmux. Package registries are reached as this machine reaches them: its sources, its
# pip configuration and its certificates are copied. Roots lie in $NEXUSHUB_CLEAN_DIR (default /var/tmp) and are
# removed at the end. Everything runs in mount, process, IPC and host-name namespaces of its own, so nothing that was
# started in there can outlive it.
set -euo pipefail
suite=bookworm
here=$(readlink -f "$(dirname "$0")/..")
self=$(readlink -f "$0")

say() { printf 'clean: %s\n' "$*"; }

die() {
    say "$*" >&2
    exit 1
}

seconds() { printf '%d.%d s' $((($2 - $1) / 1000000)) $((($2 - $1) / 100000 % 10)); }

now() { printf '%s' "${EPOCHREALTIME/./}"; }

# The mirror that this machine uses itself, from either form of its sources.
mirror() {
    cat /etc/apt/sources.list /etc/apt/sources.list.d/debian.* 2>/dev/null |
        sed -n -e 's/^URIs: *\([^ ]*\/debian\)\/\?$/\1/p' -e 's/^deb \(\[[^]]*\] \)\?\([^ ]*\/debian\)\/\? .*/\2/p' | head -n 1
}

make_base() {
    local root=$1 file
    debootstrap --variant=minbase --include=git,make,ca-certificates "$suite" "$root" "$(mirror)" >"$work/debootstrap.log" 2>&1 ||
        die "debootstrap failed: $(tail -n 1 "$work/debootstrap.log")"
    rm -f "$root"/etc/apt/sources.list
    for file in /etc/apt/sources.list /etc/apt/sources.list.d/debian.*; do
        [ ! -e "$file" ] || cp "$file" "$root$file"
    done
    for file in /etc/apt/apt.conf.d/*; do # what no package put there is this machine's own set-up
        dpkg -S "$file" >/dev/null 2>&1 || cp "$file" "$root$file"
    done
    for file in /etc/pip.conf /etc/resolv.conf; do
        [ ! -e "$file" ] || cp -L "$file" "$root$file"
    done
    mkdir -p "$root/usr/local/share/ca-certificates"
    cp -rL /usr/local/share/ca-certificates/. "$root/usr/local/share/ca-certificates/"
    chroot "$root" update-ca-certificates >/dev/null 2>&1
    git clone -q "file://$here" "$root/root/nexushub"
}

# Runs in the new namespaces, as their first process.
inside() {
    local root=$1 node
    shift
    mount --make-rprivate /
    mount --bind "$root" "$root"
    mount -t proc proc "$root/proc"
    mount --rbind /sys "$root/sys"
    mount -t tmpfs -o mode=755 tmpfs "$root/dev"
    for node in null zero full random urandom tty net/tun kvm; do
        [ -e "/dev/$node" ] || continue
        mkdir -p "$(dirname "$root/dev/$node")"
        : >"$root/dev/$node"
        mount --bind "/dev/$node" "$root/dev/$node"
    done
    mkdir "$root/dev/pts" "$root/dev/shm"
    mount -t devpts -o newinstance,ptmxmode=666,mode=620,gid=5 devpts "$root/dev/pts"
    ln -s pts/ptmx "$root/dev/ptmx"
    ln -s /proc/self/fd "$root/dev/fd"
    mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
    mount -t tmpfs -o mode=755 tmpfs "$root/run"
    hostname clean
    printf '127.0.0.1 localhost clean\n::1 localhost\n' >"$root/etc/hosts"
    exec chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM="${TERM:-xterm-256color}" \
        LANG=C.UTF-8 ${CI:+CI=$CI} /bin/bash -c 'cd /root/nexushub && exec "$@"' bash "$@"
}

enter() { unshare --mount --pid --fork --kill-child --ipc --uts "$self" --inside "$@"; }

timed() {
    local name=$1 root=$2 began outcome=0
    shift 2
    began=$(now)
    enter "$root" "$@" </dev/null >"$work/$name.log" 2>&1 || outcome=$?
    grep -E '^(set-up|ci):|^[a-z]+ +[0-9.]+ s|passed|failed' "$work/$name.log" | tail -n 40 || true
    if [ $outcome -ne 0 ]; then
        cp "$work/$name.log" "/tmp/nexushub-clean-$name.log"
        say "$name: FAILED with exit $outcome after $(seconds "$began" "$(now)"); its whole output is in /tmp/nexushub-clean-$name.log"
        return 1
    fi
    say "$name: $(seconds "$began" "$(now)")"
}

# A terminal is needed to see a TUI: tmux is one. The TUI is there when it has taken the alternate screen and drawn.
first_run() {
    local root=$1 began socket=nexushub-clean-$$ screen='' status=''
    began=$(now)
    tmux -L "$socket" -f /dev/null new-session -d -x 100 -y 30 \
        "$self --enter $(printf %q "$root") make run; echo \$? >$(printf %q "$work/run.exit"); sleep 5"
    while [ ! -e "$work/run.exit" ] && [ $((($(now) - began) / 1000000)) -lt 900 ]; do
        if [ "$(tmux -L "$socket" display -p '#{alternate_on}' 2>/dev/null)" = 1 ]; then
            screen=$(tmux -L "$socket" capture-pane -p)
            ! grep -q '[[:alpha:]]' <<<"$screen" || break
            screen=''
        fi
        sleep 0.1
    done
    local reached
    reached=$(now)
    if [ -z "$screen" ]; then
        tmux -L "$socket" capture-pane -p -S - | grep . || true
        tmux -L "$socket" kill-server 2>/dev/null || true
        say "run: FAILED, no TUI after $(seconds "$began" "$reached")"
        return 1
    fi
    tmux -L "$socket" capture-pane -p -a -S - | grep '^set-up' # what the terminal held before
    sleep 3
    tmux -L "$socket" capture-pane -p
    say "run: the TUI is on the screen after $(seconds "$began" "$reached")"
    tmux -L "$socket" send-keys C-q
    for _ in $(seq 100); do
        [ ! -e "$work/run.exit" ] || break
        sleep 0.2
    done
    [ ! -e "$work/run.exit" ] || status=$(cat "$work/run.exit")
    tmux -L "$socket" kill-server 2>/dev/null || true
    [ "$status" = 0 ] || {
        say "run: FAILED, quitting gave '${status:-no answer in 20 s}'"
        return 1
    }
    say "run: quit with exit 0"
}

case ${1:-both} in
    --inside) # in the new namespaces
        shift
        inside "$@"
        ;;
    --enter) # in tmux
        shift
        enter "$@"
        exit
        ;;
    both) wanted=(run test) ;;
    run | test | setup | check) wanted=("$1") ;;
    *) die "usage: scripts/clean-debian.sh [both|run|test|setup|check]" ;;
esac

[ "$(id -u)" -eq 0 ] || die "this makes a root file system and mounts in it, which needs root"
for tool in debootstrap tmux unshare git; do
    command -v "$tool" >/dev/null || die "$tool is missing: scripts/setup.sh test installs it"
done
work=$(mktemp -d "${NEXUSHUB_CLEAN_DIR:-/var/tmp}/nexushub-clean.XXXXXX")
chmod 755 "$work"
trap 'rm -rf --one-file-system "$work"' EXIT
began=$(now)
make_base "$work/base"
say "a minimal Debian $(cat "$work/base/etc/debian_version") with $(chroot "$work/base" dpkg-query -f '.\n' -W | wc -l) packages: $(seconds "$began" "$(now)")"
outcome=0
for name in "${wanted[@]}"; do
    root=$work/$name
    cp -a "$work/base" "$root"
    case $name in
        run) first_run "$root" || outcome=1 ;;
        test) timed test "$root" make test || outcome=1 ;;
        setup) timed setup "$root" scripts/setup.sh test || outcome=1 ;;
        check) timed check "$root" make check || outcome=1 ;;
    esac
    rm -rf --one-file-system "$root"
done
exit $outcome
