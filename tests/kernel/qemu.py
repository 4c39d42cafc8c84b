"""Boot Debian's own kernel in QEMU, with this machine's files as its root, and run a command there.

The machine's own kernel may have no WireGuard module, Debian's has. QEMU emulates (TCG), so everything takes
about twelve times as long as natively: times printed from in there are labelled so. The root is virtiofs,
read-only, with tmpfs over what must be written; the guest has no network card.

``python -m tests.kernel.qemu COMMAND…`` runs one command there by hand.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = "qemu-system-x86 qemu-system-common linux-image-cloud-amd64 busybox-static kmod"
_KERNELS = (Path("/var/cache/nexushub/kernel"), Path("/"))
_VIRTIOFSD = ("/usr/lib/qemu/virtiofsd", "/usr/libexec/virtiofsd")
_MODULES = ("virtio_pci", "virtiofs", "wireguard", "veth", "cls_bpf", "sch_ingress", "nf_tables")

_INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /proc /new
/bin/busybox mount -t proc proc /proc
for module in $(/bin/busybox cat /order); do /bin/busybox insmod "$module"; done
/bin/busybox mount -t virtiofs -o ro root /new || exec /bin/busybox poweroff -f
/bin/busybox mount -t proc proc /new/proc
/bin/busybox mount -t sysfs sys /new/sys
/bin/busybox mount -t devtmpfs dev /new/dev
/bin/busybox mount -t tmpfs run /new/run
/bin/busybox mkdir -p /new/run/wireguard /new/run/netns /new/run/tmp /new/dev/shm
/bin/busybox cp /guest /new/run/guest
/bin/busybox umount /proc
exec /bin/busybox switch_root /new /bin/sh /run/guest
"""

_GUEST = """
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export HOME=/run/tmp TMPDIR=/run/tmp PYTHONDONTWRITEBYTECODE=1 LC_ALL=C.UTF-8
{environment}
[ {modules} = /lib/modules ] || mount --bind {modules} /lib/modules
cd {directory}
ip link set lo up
{command} > /dev/ttyS1 2>&1 < /dev/null
echo "guest $(uname -r) exit $?" > /dev/ttyS2
sync
echo o > /proc/sysrq-trigger
sleep 60
"""


@dataclass(frozen=True)
class Outcome:
    """What a command in the guest did."""

    code: int
    output: str
    kernel: str
    seconds: float


def newest_kernel() -> Path | None:
    """The newest kernel image whose modules are there too: unpacked by scripts/setup.sh, or installed."""
    for root in _KERNELS:
        images = [path for path in (root / "boot").glob("vmlinuz-*") if (_modules_of(path) / "modules.dep").exists()]
        if images:
            return max(images, key=lambda path: [int(part) for part in re.findall(r"\d+", path.name)])
    return None


def _modules_of(image: Path) -> Path:
    return image.parent.parent / "lib/modules" / image.name.removeprefix("vmlinuz-")


def missing() -> str:
    """What has to be installed before a guest can be booted, or nothing."""
    have = newest_kernel() and shutil.which("qemu-system-x86_64") and shutil.which("busybox") and _virtiofsd()
    return "" if have else f"apt-get install {PACKAGES}"


def _virtiofsd() -> str | None:
    return next((path for path in _VIRTIOFSD if Path(path).exists()), None)


def _cpio(files: dict[str, bytes]) -> bytes:
    """An initial file system in the "newc" format (cpio(5)), directories included."""
    entries: dict[str, tuple[int, bytes]] = {}
    for name, content in files.items():
        for parent in reversed(Path(name).parents):
            if str(parent) != ".":
                entries.setdefault(str(parent), (0o040755, b""))
        entries[name] = (0o100755, content)
    entries["TRAILER!!!"] = (0, b"")
    archive = bytearray()
    for number, (name, (mode, content)) in enumerate(entries.items(), start=1):
        raw = name.encode() + b"\0"
        fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(raw), 0)
        archive += b"070701" + "".join(f"{field:08x}" for field in fields).encode() + raw
        archive += bytes(-len(archive) % 4) + content
        archive += bytes(-len(archive) % 4)
    return bytes(archive)


def _initrd(image: Path, guest: str) -> bytes:
    """Busybox, the modules that the root file system and the tests need in loading order, and two scripts."""
    release = image.name.removeprefix("vmlinuz-")
    order: list[str] = []
    for module in _MODULES:
        shown = subprocess.run(
            ["/sbin/modprobe", "-d", str(image.parent.parent), "-S", release, "--show-depends", module],
            capture_output=True,
            text=True,
            check=True,
        )
        order += [line.split()[1] for line in shown.stdout.splitlines() if line.startswith("insmod")]
    order = list(dict.fromkeys(order))
    files = {f"modules/{Path(path).name}": Path(path).read_bytes() for path in order}
    busybox = shutil.which("busybox")
    assert busybox is not None
    files["bin/busybox"] = Path(busybox).read_bytes()
    files["order"] = "\n".join(f"/modules/{Path(path).name}" for path in order).encode()
    files["init"] = _INIT.encode()
    files["guest"] = guest.encode()
    return _cpio(files)


def run_in_guest(
    command: list[str], *, environment: dict[str, str] | None = None, timeout: float = 600, processors: int = 1
) -> Outcome:
    """Boot, run one command as root in the repository's directory, power off."""
    image, program = newest_kernel(), _virtiofsd()
    assert image is not None, missing()
    assert program is not None, missing()
    exported = "\n".join(f"export {name}={shlex.quote(value)}" for name, value in (environment or {}).items())
    guest = _GUEST.format(
        environment=exported,
        modules=_modules_of(image).parent,
        directory=shlex.quote(str(ROOT)),
        command=shlex.join(command),
    )
    started = time.monotonic()
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nxt-qemu-")))
        (work / "initrd").write_bytes(_initrd(image, guest))
        sharer = subprocess.Popen(
            [program, f"--socket-path={work}/fs", "-o", "source=/,cache=always,sandbox=chroot,no_flock"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=(work / "virtiofsd").open("wb"),
        )
        stack.callback(sharer.wait)
        stack.callback(sharer.terminate)
        while not (work / "fs").exists():
            assert sharer.poll() is None, (work / "virtiofsd").read_text()
            assert time.monotonic() < started + 10, "virtiofsd opened no socket"
            time.sleep(0.02)
        try:
            subprocess.run(_qemu(image, work, processors), stdin=subprocess.DEVNULL, timeout=timeout, check=True)
        except subprocess.TimeoutExpired:
            (work / "result").write_text("guest (timed out) exit 124")
        output = (work / "output").read_text(errors="replace").replace("\r\n", "\n")
        ended = re.search(r"guest (.+) exit (\d+)", (work / "result").read_text())
        console = (work / "console").read_text(errors="replace")
    assert ended, f"the guest did not get to the end:\n{console[-3000:]}"
    return Outcome(int(ended[2]), output, ended[1], time.monotonic() - started)


def _qemu(image: Path, work: Path, processors: int) -> list[str]:
    return [
        *("qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", str(processors)),
        *("-m", "1024", "-object", "memory-backend-memfd,id=mem,size=1024M,share=on", "-numa", "node,memdev=mem"),
        *(
            "-kernel",
            str(image),
            "-initrd",
            str(work / "initrd"),
            "-append",
            "console=ttyS0 quiet panic=-1 rcupdate.rcu_expedited=1",
        ),
        *("-chardev", f"socket,id=fs,path={work}/fs", "-device", "vhost-user-fs-pci,chardev=fs,tag=root"),
        *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
        *("-serial", f"file:{work}/console", "-serial", f"file:{work}/output", "-serial", f"file:{work}/result"),
    ]


if __name__ == "__main__":
    outcome = run_in_guest(
        sys.argv[1:] or ["uname", "-a"], environment={"PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    )
    sys.stdout.write(outcome.output)
    sys.stdout.write(f"guest kernel {outcome.kernel}, exit {outcome.code}, {outcome.seconds:.0f} s with boot\n")
    raise SystemExit(outcome.code)
