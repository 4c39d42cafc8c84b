"""The agent and the server as children of a TUI, on a machine where neither runs.

A child never outlives its parent: it is told to end when the parent's thread that started it dies, however that
happens. It gets no secret in its arguments or environment: settings travel in a sealed memory file, named by
NEXUSHUB_CONFIG. It sits in a session of its own, so Ctrl-C typed at the TUI is not for it, and what it prints goes
to a file, never to the screen. Tunnels are not ended with it: links and their wireguard-go processes stay.
"""

from __future__ import annotations

import fcntl
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from nexushub.config import SETTINGS, Settings

log = logging.getLogger(__name__)

ROLES = ("agent", "serve")
_BACKOFF = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_HEALTHY = 60.0
"""Seconds of life after which a crash counts as the first again."""
_LOG_LIMIT = 5 * 1024 * 1024
_LOCK = "embed.lock"

# Runs before the child's own program: ask for SIGTERM when the parent dies, and end at once if it already did
# between fork and this call, else the signal would never come.
_LAUNCH = (
    "import ctypes, os, sys\n"
    "ctypes.CDLL(None).prctl(1, 15)\n"
    "if os.getppid() != int(sys.argv[1]): sys.exit(0)\n"
    "os.execv(sys.executable, [sys.executable, *sys.argv[2:]])"
)
_PASSED = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "VIRTUAL_ENV", "BCC_KERNEL_SOURCE")
_PASSED_PREFIXES = ("LC_", "OTEL_")


def answers(settings: Settings) -> bool:
    """Whether an agent or a server runs here already: somebody listens on one of their sockets."""
    sockets = ((settings.agent_socket, socket.SOCK_SEQPACKET), (settings.api_socket, socket.SOCK_STREAM))
    return any(_listens(path, kind) for path, kind in sockets)


def _listens(path: Path, kind: socket.SocketKind) -> bool:
    with socket.socket(socket.AF_UNIX, kind) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except (FileNotFoundError, ConnectionError):
            return False
        except OSError:
            return True  # full backlog, or not ours to open: there is somebody
        return True


@dataclass
class _Child:
    role: str
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    crashes: int = 0
    restart_at: float = 0.0
    trouble: str = ""


@dataclass
class Embedded:
    """Starts the two children where nobody else runs them, starts them again when they crash, ends them.

    Everything happens in one thread, which lives until ``stop``: the kernel sends a child its signal when the
    *thread* that started it ends. A second TUI finds the lock held and only watches; when the first one ends, it
    takes over.
    """

    settings: Settings
    python: str = sys.executable
    commands: Mapping[str, Sequence[str]] = field(
        default_factory=lambda: {role: ("-m", "nexushub", role) for role in ROLES}
    )
    active: bool = False
    """Whether this process runs them now."""
    _children: dict[str, _Child] = field(default_factory=dict)
    _stopping: threading.Event = field(default_factory=threading.Event)
    _decided: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None
    _lock: IO[str] | None = None

    def start(self) -> None:
        """Begin to watch, and to embed if nobody else runs them. Returns once that is decided."""
        self._thread = threading.Thread(target=self._supervise, name="nexushub-embed", daemon=True)
        self._thread.start()
        self._decided.wait(5)

    def stop(self, seconds: float = 10.0) -> None:
        """End the children (SIGTERM, then SIGKILL after ``seconds``) and wait for them."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(seconds + 2)
        self._end(time.monotonic() + seconds)

    @property
    def trouble(self) -> str:
        """What a person should know: which child keeps ending and where its log is. Empty when all is well."""
        return "; ".join(child.trouble for child in self._children.values() if child.trouble)

    @property
    def pids(self) -> dict[str, int]:
        return {
            role: child.process.pid
            for role, child in self._children.items()
            if child.process and child.process.poll() is None
        }

    def log_file(self, role: str) -> Path:
        return self.settings.state_dir / "log" / f"{role}.log"

    def _supervise(self) -> None:
        try:
            while not self._stopping.is_set():
                if not self.active and not answers(self.settings) and self._take_lock():
                    self._children = {role: _Child(role) for role in self.commands}
                    self.active = True
                if self.active:
                    for child in self._children.values():
                        self._keep(child)
                self._decided.set()
                self._stopping.wait(0.25 if self.active else 2.0)
            self._end(time.monotonic() + 10)
        except Exception:
            log.exception("embedding failed")
            self._children.setdefault(
                "embed", _Child("embed")
            ).trouble = "agent and server could not be started; see the log"
            raise
        finally:
            self._decided.set()

    def _take_lock(self) -> bool:
        self.settings.run_dir.mkdir(parents=True, exist_ok=True, mode=0o755)
        lock = (self.settings.run_dir / _LOCK).open("a")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            return False
        self._lock = lock
        return True

    def _keep(self, child: _Child) -> None:
        now = time.monotonic()
        if child.process is not None:
            code = child.process.poll()
            if code is None:
                if child.trouble and now - child.started > _HEALTHY:
                    child.trouble, child.crashes = "", 0
                return
            child.process = None
            child.crashes = 1 if now - child.started > _HEALTHY else child.crashes + 1
            child.restart_at = now + _BACKOFF[min(child.crashes, len(_BACKOFF)) - 1]
            child.trouble = f"{_title(child.role)} ended ({_how(code)}), see {self.log_file(child.role)}"
            log.warning("%s", child.trouble)
        if now >= child.restart_at:
            child.process = self._spawn(child.role)
            child.started = now

    def _spawn(self, role: str) -> subprocess.Popen[bytes]:
        handle = _settings_file(self.settings)
        environment = {
            name: value for name, value in os.environ.items() if name in _PASSED or name.startswith(_PASSED_PREFIXES)
        }
        environment |= {"NEXUSHUB_CONFIG": f"/proc/self/fd/{handle}", "NEXUSHUB_EMBEDDED": "1", "PYTHONUNBUFFERED": "1"}
        argv = [self.python, "-c", _LAUNCH, str(os.getpid()), *self.commands[role]]
        try:
            with _open_log(self.log_file(role)) as output:
                return subprocess.Popen(  # noqa: S603  (our own interpreter, arguments of ours)
                    argv, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=environment, cwd="/",
                    pass_fds=(handle,), start_new_session=True,
                )  # fmt: skip
        finally:
            os.close(handle)

    def _end(self, deadline: float) -> None:
        """Both at once: the server has requests to finish, the agent a reconcile."""
        running = [child.process for child in self._children.values() if child.process is not None]
        for process in running:
            process.terminate()
        for process in running:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._children.clear()
        self.active = False
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def _settings_file(settings: Settings) -> int:
    """Every setting of this process as TOML in memory, for a child to read: flags and secrets reach it, and
    neither ``ps`` nor /proc/PID/environ shows them."""
    lines = []
    for setting in SETTINGS:
        value = getattr(settings, setting.key)
        if setting.key == "listen":
            host, port = value
            value = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        elif isinstance(value, tuple):
            value = ",".join(value)
        if value not in (None, ""):
            lines.append(f"{setting.key} = {_quoted(str(value))}")
    handle = os.memfd_create("nexushub-settings", 0)
    os.fchmod(handle, 0o600)
    os.write(handle, ("\n".join(lines) + "\n").encode())
    return handle


def _quoted(value: str) -> str:
    escaped = "".join(f"\\u{ord(char):04x}" if ord(char) < ord(" ") or char in '"\\\x7f' else char for char in value)
    return f'"{escaped}"'


def _open_log(path: Path) -> IO[bytes]:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if path.exists() and path.stat().st_size > _LOG_LIMIT:
        path.replace(path.with_suffix(".log.1"))
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab")


def _title(role: str) -> str:
    return {"agent": "the agent", "serve": "the server"}.get(role, role)


def _how(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit {code}"
