"""Forwarding and NAT for interfaces that ask for it: an explicit step, and one that is taken back.

One nft table of ours, ``inet nexushub``, replaced in one transaction; no other table is read or written. Chains of
type nat see the first packet of a connection only (nftables wiki, "Performing NAT"), so flows that exist, such as
the administrator's own, are not changed. The forwarding switches' former values are kept in the run directory and
put back when the last interface with NAT goes.
"""

from __future__ import annotations

import ipaddress
import json
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from nexushub.errors import KernelError
from nexushub.kernel.values import Cidr

TABLE = "nexushub"
SWITCHES = (Path("/proc/sys/net/ipv4/ip_forward"), Path("/proc/sys/net/ipv6/conf/all/forwarding"))
_PATH = "/usr/sbin:/sbin:/usr/bin:/bin"

Wanted = Mapping[str, Sequence[Cidr]]
"""Link names and the networks whose traffic is masqueraded when it leaves by another link."""


def program(wanted: Wanted) -> str:
    """The text for ``nft -f``: the whole table, made new in one transaction. Pure."""
    lines = [f"add table inet {TABLE}", f"delete table inet {TABLE}"]
    if wanted:
        lines.append(f"add table inet {TABLE}")
        lines.append(
            f"add chain inet {TABLE} postrouting {{ type nat hook postrouting priority srcnat; policy accept; }}"
        )
    for link in sorted(wanted):
        for network in sorted(wanted[link]):
            family = "ip" if ipaddress.ip_network(network).version == 4 else "ip6"
            rule = f'{family} saddr {network} oifname != "{link}" counter masquerade'
            lines.append(f"add rule inet {TABLE} postrouting {rule}")
    return "\n".join(lines) + "\n"


def observed() -> frozenset[tuple[str, str]] | None:
    """The links and networks that the table masquerades now; None when there is no such table.

    ``KernelError`` when nft is missing or refuses.
    """
    done = _nft(["list", "table", "inet", TABLE])
    if done.returncode:
        if "No such file" in done.stderr:
            return None
        raise KernelError("read NAT", f"table inet {TABLE}", _words(done.stderr))
    return frozenset(
        (link, network)
        for network, link in re.findall(r'saddr (\S+) oifname != "([^"]+)" counter .*masquerade', done.stdout)
    )


def sync(wanted: Wanted, memory: Path) -> bool:
    """Make table and forwarding switches what is wanted; whether anything had to change.

    ``memory`` is the file that keeps the switches' former values. Only what this function once turned on does it
    turn off. ``KernelError`` with nft's words; the table is then as it was.
    """
    want = frozenset((link, str(n)) for link, networks in wanted.items() for n in networks)
    have = observed() if wanted or shutil.which("nft", path=_PATH) else None
    changed = False
    if (have or frozenset()) != want or (have is not None and not wanted):
        done = _nft(["-f", "-"], program(wanted))
        if done.returncode:
            raise KernelError("set NAT", f"table inet {TABLE}", _words(done.stderr))
        changed = True
    return (_forward(memory) if wanted else _restore(memory)) or changed


def _forward(memory: Path) -> bool:
    """Turn forwarding on, noting first what it was: a process killed in between must not forget it."""
    before = {str(path): path.read_text().strip() for path in SWITCHES if path.exists()}
    if all(value == "1" for value in before.values()):
        return False
    if not memory.exists():
        memory.write_text(json.dumps(before))
    for name in before:
        _write(Path(name), "1")
    return True


def _restore(memory: Path) -> bool:
    if not memory.exists():
        return False
    for name, value in json.loads(memory.read_text()).items():
        if Path(name) in SWITCHES and value in ("0", "1", "2"):
            _write(Path(name), value)
    memory.unlink()
    return True


def _write(path: Path, value: str) -> None:
    try:
        path.write_text(value)
    except OSError as error:
        raise KernelError("set forwarding", str(path), error.strerror or str(error), errno=error.errno or 0) from error


def _nft(arguments: list[str], text: str = "") -> subprocess.CompletedProcess[str]:
    path = shutil.which("nft", path=_PATH)
    if path is None:
        raise KernelError("set NAT", f"table inet {TABLE}", "nft is not installed", hint="apt-get install nftables")
    return subprocess.run(  # noqa: S603 - a fixed program, names and networks already parsed, no shell
        [path, *arguments], input=text, capture_output=True, text=True, timeout=10, check=False, env={"PATH": _PATH}
    )


def _words(stderr: str) -> str:
    lines = [line for line in stderr.splitlines() if line.strip()]
    return lines[0].rpartition("Error: ")[2] if lines else "it gave no reason"
