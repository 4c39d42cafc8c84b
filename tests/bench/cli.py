"""``nexushub peer list`` of 500 peers against the bare interpreter, and what it imports."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from nexushub import postgres
from tests.bench.machine import goal, milliseconds, report

PEERS = 500
FORBIDDEN = ("sqlmodel", "sqlalchemy", "textual", "flask", "pyroute2", "numpy")


def median(command: list[str], environ: dict[str, str], rounds: int = 21) -> float:
    """The median wall time of a whole process, in seconds; the first run only warms."""
    times = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        subprocess.run(command, env=environ, stdout=subprocess.DEVNULL, check=True)
        times.append(time.perf_counter() - began)
    return sorted(times[1:])[rounds // 2]


def main() -> None:
    """Start a database and a server, fill them, measure, stop both."""
    with tempfile.TemporaryDirectory(prefix="nxp-", dir="/tmp") as name:
        directory = Path(name)
        directory.chmod(0o711)
        environ = {
            "PATH": os.environ["PATH"], "NEXUSHUB_STATE_DIR": str(directory / "state"), "NEXUSHUB_RUN_DIR": str(directory / "run"),
            "NEXUSHUB_LISTEN": "127.0.0.1:18777", "NEXUSHUB_CONFIG": "/nonexistent.toml", "HOME": str(directory),
        }  # fmt: skip
        cluster = postgres.start(directory / "state", directory / "run")
        server = subprocess.Popen([sys.executable, "-m", "nexushub", "serve"], env=environ, stderr=subprocess.DEVNULL)
        try:
            measure(environ)
        finally:
            server.terminate()
            server.wait(20)
            postgres.stop(cluster)


def measure(environ: dict[str, str]) -> None:
    """Fill the hub, time the command and the interpreter, print."""
    cli = [sys.executable, "-m", "nexushub"]
    deadline = time.monotonic() + 30
    while subprocess.run([*cli, "status"], env=environ, capture_output=True, check=False).returncode == 75:
        if time.monotonic() > deadline:
            raise TimeoutError("the server did not start")
        time.sleep(0.2)
    run = {"env": environ, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run([*cli, "interface", "create", "--name", "wgbench", "--address", "10.64.0.1/16"], check=True, **run)  # type: ignore[call-overload]  # the same options three times
    names = "\n".join(f"peer-{n:04}" for n in range(PEERS)).encode()
    subprocess.run([*cli, "peer", "create", "--interface", "wgbench", "--from", "-"], input=names, check=True, **run)  # type: ignore[call-overload]  # see above
    listed = subprocess.run([*cli, "peer", "list"], env=environ, capture_output=True, text=True, check=True).stdout
    bare = median([sys.executable, "-I", "-c", "pass"], environ)
    whole = median([*cli, "peer", "list"], environ)
    traced = subprocess.run(
        [sys.executable, "-X", "importtime", *cli[1:], "peer", "list"],
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    ).stderr
    modules = set(re.findall(r"\|\s+([\w.]+)$", traced, re.MULTILINE))
    found = sorted(m for m in modules if m.partition(".")[0] in FORBIDDEN)
    measured = {
        "peers": listed.count("\n"), "bare_interpreter_ms": milliseconds(bare), "peer_list_ms": milliseconds(whole),
        "modules": len(modules), "forbidden_modules": found,
    }  # fmt: skip
    report(
        "cli",
        measured,
        [
            goal("peer list of 500 / bare interpreter", 6, whole / bare),
            goal("forbidden modules imported", 0, len(found)),
        ],
    )


if __name__ == "__main__":
    main()
