"""The header of a test run: which real parts it runs on, so that a green run can't hide a missing one."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from nexushub import postgres
from nexushub.errors import Configuration


def pytest_report_header() -> list[str]:
    return [f"{name}: {probe()}" for name, probe in _PARTS.items()]


def _version(*argv: str) -> str:
    if shutil.which(argv[0]) is None:
        return "missing"
    result = subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    lines = (result.stdout or result.stderr).strip().splitlines()
    return lines[0] if lines else f"present, exit {result.returncode}"


def _postgresql() -> str:
    try:
        binaries = postgres.find_binaries()
    except Configuration as error:
        return str(error)
    return _version(str(binaries / "postgres"), "--version")


def _wireguard() -> str:
    modules = Path("/lib/modules") / platform.release()
    present = Path("/sys/module/wireguard").exists() or any(modules.rglob("wireguard.ko*"))
    return f"{'present' if present else 'missing'} in {platform.release()} (also run in QEMU)"


def _bpf() -> str:
    try:
        import bcc
    except ImportError as error:
        return f"missing ({error})"
    headers = sorted(path.name for path in Path("/usr/src").glob("linux-headers-*"))
    return f"BCC {bcc.__version__}, headers {', '.join(headers) or 'missing'}"


def _guest_kernel() -> str:
    kernels = sorted(path.name for path in Path("/var/cache/nexushub/kernel/boot").glob("vmlinuz-*"))
    return ", ".join(kernels) or "missing"


_PARTS: dict[str, Callable[[], str]] = {
    "user id": lambda: f"{os.geteuid()}, {os.cpu_count()} processors",
    "PostgreSQL": _postgresql,
    "wireguard-go": lambda: _version("wireguard-go", "--version"),
    "wireguard-tools": lambda: _version("wg", "--version"),
    "kernel WireGuard": _wireguard,
    "BPF": _bpf,
    "nftables": lambda: _version("nft", "--version"),
    "QEMU": lambda: _version("qemu-system-x86_64", "--version"),
    "guest kernel": _guest_kernel,
    "tmux": lambda: _version("tmux", "-V"),
    "zbar": lambda: _version("zbarimg", "--version"),
}
