"""The embedded PostgreSQL: a private cluster in the state directory, reached by socket and by nobody else.

Debian's own server programs are used, so security updates arrive with the system's. The cluster listens on no
network address; who connects is settled by the operating system (peer authentication). Standard library only:
the TUI starts it before it imports the database stack.

Several processes may use one cluster. Each holds a shared lock on ``pg.users`` for as long as it lives, and
``stop`` ends the server only when nobody else holds one: a lock, unlike a counter, is let go by kill -9 too.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from nexushub import postgresfiles
from nexushub.errors import Configuration, Unavailable
from nexushub.postgresfiles import DATABASE, PORT, ROLES, SET_UP

BINARIES = Path("/usr/lib/postgresql")
#: sockaddr_un has 108 bytes, the last of them NUL.
SOCKET_PATH_MAX = 107
_INSTALL = "apt-get install postgresql, or set NEXUSHUB_DATABASE_URL."
_HOLDS_LOCK = "pg.lock"
_HOLDS_USE = "pg.users"


@dataclass(frozen=True, slots=True)
class Cluster:
    """A running private cluster, and this process's hold on it."""

    directory: Path
    socket_directory: Path
    binaries: Path
    started: bool
    """Whether this call started the server; False means that it ran already."""
    version: str
    _use: IO[str] = field(repr=False, compare=False)

    def dsn(self, role: str, database: str = DATABASE) -> str:
        """A libpq conninfo string. It holds no password: the socket knows who is asking."""
        return f"host={_quoted(str(self.socket_directory))} port={PORT} dbname={database} user={role}"


def start(state_dir: Path, run_dir: Path) -> Cluster:
    """Start the cluster, or adopt the one that runs; the first time, create it (0.7 s).

    Raises ``Configuration`` when it can never work as the machine is set up, and ``Unavailable`` with the last
    lines of the server's log when it did not come up. Two starters at once: the second waits, then adopts.
    """
    socket_directory = run_dir / "pg"
    _check_socket_path(socket_directory)
    _make_reachable(state_dir)
    _make_reachable(run_dir)
    with _lock(state_dir / _HOLDS_LOCK):
        account = _server_account(state_dir)
        directory = state_dir / "pg"
        binaries = find_binaries(directory / "data")
        version = _initialise(directory, binaries, account)
        started = False
        if not (running := _running(directory)):
            _own_directory(socket_directory, account)
            postgresfiles.write(directory, socket_directory, account)
            _launch(directory, socket_directory, binaries, account)
            started, running = True, socket_directory
        try:
            _set_up(directory, running, binaries, account)
        except BaseException:
            if started:
                _halt(directory, binaries, account)
            raise
        use = _open_lock(state_dir / _HOLDS_USE)
        fcntl.flock(use, fcntl.LOCK_SH)
        return Cluster(directory, running, binaries, started, version, use)


def stop(cluster: Cluster) -> bool:
    """Let go of the cluster, and end the server (fast mode) if nobody else uses it. True when it was ended."""
    if cluster._use.closed:
        return False
    state_dir = cluster.directory.parent
    with _lock(state_dir / _HOLDS_LOCK), cluster._use as use:
        try:
            fcntl.flock(use, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        if _running(cluster.directory) is None:
            return False
        _halt(cluster.directory, cluster.binaries, _server_account(state_dir))
        return True


def find_binaries(data: Path | None = None) -> Path:
    """The directory of the server programs: those that the data directory was made by, else the newest.

    Raises ``Configuration`` when there are none, or when the data belongs to a version that is not installed.
    """
    installed = {
        int(path.parent.parent.name): path.parent
        for path in BINARIES.glob("*/bin/initdb")
        if path.parent.parent.name.isdigit()
    }
    if not installed:
        raise Configuration("database", f"PostgreSQL's server programs are not in {BINARIES}", hint=_INSTALL)
    marker = data / "PG_VERSION" if data else None
    if marker is None or not marker.exists():
        return installed[max(installed)]
    made_by = marker.read_text().strip()
    if made_by.isdigit() and int(made_by) in installed:
        return installed[int(made_by)]
    present = ", ".join(str(version) for version in sorted(installed))
    raise Configuration(
        "database",
        f"{data} was made by PostgreSQL {made_by}, and this machine has {present}",
        hint=f"apt-get install postgresql-{made_by}, or restore a backup into a new state directory.",
    )


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _check_socket_path(socket_directory: Path) -> None:
    path = socket_directory / f".s.PGSQL.{PORT}"
    if (length := len(os.fsencode(path))) > SOCKET_PATH_MAX:
        raise Configuration(
            "run_dir",
            f"the database's socket {path} would have {length} bytes, and Unix allows {SOCKET_PATH_MAX}",
            hint="Set NEXUSHUB_RUN_DIR to a shorter path.",
        )


def _open_lock(path: Path) -> IO[str]:
    """Readable by its owner alone: whoever can read a file can lock it, and so keep the database from starting."""
    return open(path, "a", opener=lambda name, flags: os.open(name, flags, 0o600))


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    with _open_lock(path) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _server_account(state_dir: Path) -> pwd.struct_passwd:
    """Who the server runs as: the caller, or ``postgres`` for root, since initdb refuses root."""
    if os.geteuid() != 0:
        account = pwd.getpwuid(os.geteuid())
    else:
        try:
            account = pwd.getpwnam("postgres")
        except KeyError as error:
            raise Configuration("database", "there is no user 'postgres' to run it as", hint=_INSTALL) from error
    directory = state_dir / "pg"
    if directory.exists() and directory.stat().st_uid != account.pw_uid:
        raise Configuration(
            "state_dir",
            f"{directory} belongs to user id {directory.stat().st_uid}, and the database would be {account.pw_name}'s",
            hint="Start NexusHub as the same user as before, or set another NEXUSHUB_STATE_DIR.",
        )
    return account


def _make_reachable(directory: Path) -> None:
    """Make the directory, and let the server's user pass through it without reading it.

    Only this one directory is ever opened, and only for passing: what lies above it is the system's business.
    """
    try:
        directory.mkdir(mode=0o711, parents=True, exist_ok=True)
        mode = directory.stat().st_mode
        if os.geteuid() == 0 and not mode & 0o001:
            directory.chmod((mode & 0o7777) | 0o001)
    except OSError as error:
        raise Configuration("state_dir", f"{directory} can't be used: {error.strerror}") from error


def _own_directory(directory: Path, account: pwd.struct_passwd) -> None:
    directory.mkdir(mode=0o700, exist_ok=True)
    if directory.is_symlink():
        raise Configuration("state_dir", f"{directory} is a symbolic link, which is not followed here")
    os.chown(directory, account.pw_uid, account.pw_gid)
    directory.chmod(0o700)


def _run(
    argv: list[str], account: pwd.struct_passwd | None = None, stdin: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a server program as its user, in an environment that holds nothing of ours."""
    if account is not None and os.geteuid() != account.pw_uid:
        argv = ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--init-groups", *argv]
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
    try:
        return subprocess.run(  # noqa: S603  (programs of ours, arguments of ours)
            argv, input=stdin or "", text=True, capture_output=True, env=environment, cwd="/", timeout=120, check=False
        )
    except FileNotFoundError as error:
        raise Configuration("database", f"{argv[0]} is not installed", hint=_INSTALL) from error
    except subprocess.TimeoutExpired as error:
        raise Unavailable("the embedded database", f"did not finish {Path(argv[0]).name} in two minutes") from error


def _initialise(directory: Path, binaries: Path, account: pwd.struct_passwd) -> str:
    """Create the data directory under another name and rename it: a crash half-way leaves nothing in use."""
    data = directory / "data"
    if not (data / "PG_VERSION").exists():
        _own_directory(directory, account)
        _check_passable(directory, account)
        fresh = directory / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        result = _run(_initdb(binaries, fresh, "C.UTF-8"), account)
        if "invalid locale" in result.stderr:  # C.UTF-8 is part of libc-bin, which some containers strip
            result = _run(_initdb(binaries, fresh, "C"), account)
        if result.returncode != 0:
            shutil.rmtree(fresh, ignore_errors=True)
            raise Unavailable("the embedded database", f"could not be created in {directory}: {_last(result.stderr)}")
        fresh.rename(data)
    return _run([str(binaries / "postgres"), "--version"]).stdout.split()[2]


def _initdb(binaries: Path, data: Path, locale: str) -> list[str]:
    argv = [str(binaries / "initdb"), "--pgdata", str(data), "--encoding=UTF8", f"--locale={locale}"]
    return [*argv, "--username=postgres", "--data-checksums", "--auth=peer"]


def _check_passable(directory: Path, account: pwd.struct_passwd) -> None:
    if _run(["test", "-x", str(directory)], account).returncode == 0:
        return
    for parent in reversed(directory.parents):
        if _run(["test", "-x", str(parent)], account).returncode != 0:
            raise Configuration(
                "state_dir",
                f"the user {account.pw_name}, as whom the database runs, can't pass through {parent}",
                hint="Set NEXUSHUB_STATE_DIR to a directory outside it, such as /var/lib/nexushub.",
            )


def _running(directory: Path) -> Path | None:
    """The socket directory of the server that runs on this data, or None."""
    try:
        lines = (directory / "data" / "postmaster.pid").read_text().splitlines()
        pid = int(lines[0])
    except (FileNotFoundError, IndexError, ValueError):
        return None
    if pid > 0 and _works_in(pid, directory / "data") and len(lines) > 4 and lines[4]:
        return Path(lines[4])
    return None


def _clear_stale_locks(directory: Path, socket_directory: Path) -> None:
    """Remove the lock files of a server that was killed, once no process works in its data directory.

    The server refuses to start while the process id in a lock file exists, and after kill -9 it may: as a
    zombie that nobody reaped, or as something else after a restart of the machine. While a child of the old
    server lives the files stay, since two servers on one directory destroy it.
    """
    data = directory / "data"
    if any(_works_in(int(name), data) for name in os.listdir("/proc") if name.isdigit()):
        return
    (data / "postmaster.pid").unlink(missing_ok=True)
    for name in (f".s.PGSQL.{PORT}.lock", f".s.PGSQL.{PORT}"):
        (socket_directory / name).unlink(missing_ok=True)


def _works_in(pid: int, data: Path) -> bool:
    """Whether a process has the data directory as its working directory, as every PostgreSQL process does."""
    try:
        return os.path.samefile(f"/proc/{pid}/cwd", data)
    except OSError:
        return False


def _launch(directory: Path, socket_directory: Path, binaries: Path, account: pwd.struct_passwd) -> None:
    argv = [
        str(binaries / "pg_ctl"),
        "start",
        "--pgdata",
        str(directory / "data"),
        "--wait",
        "--timeout=90",
        "--silent",
    ]
    argv += ["--log", str(directory / "start.log")]
    deadline = time.monotonic() + 15
    while True:
        _clear_stale_locks(directory, socket_directory)
        (directory / "start.log").unlink(missing_ok=True)
        if _run(argv, account).returncode == 0:
            return
        words = _log(directory)
        # After kill -9 of the main process its children take a moment to notice and to let the memory go.
        if not ("still in use" in words or "already exists" in words) or time.monotonic() > deadline:
            raise Unavailable("the embedded database", f"did not start. Its log {directory / 'log'} ends: {words}")
        time.sleep(0.1)


def _halt(directory: Path, binaries: Path, account: pwd.struct_passwd) -> None:
    argv = [str(binaries / "pg_ctl"), "stop", "--pgdata", str(directory / "data"), "--mode=fast", "--wait", "--silent"]
    result = _run(argv, account)
    if result.returncode != 0:
        raise Unavailable("the embedded database", f"did not stop: {_last(result.stderr)}")


def _set_up(directory: Path, socket_directory: Path, binaries: Path, account: pwd.struct_passwd) -> None:
    """Make roles, database and extension. Each step is skipped when it was done, so a crash here is mended."""
    marker = directory / "set-up"
    if marker.exists():
        return
    argv = [str(binaries / "psql"), "-XAtq", "-h", str(socket_directory), "-p", str(PORT), "-U", "postgres", "-f", "-"]
    for variable in ("ON_ERROR_STOP=1", f"roles={' '.join(ROLES)}", f"database={DATABASE}"):
        argv += ["-v", variable]
    result = _run([*argv, "postgres"], stdin=SET_UP)
    if result.returncode != 0:
        raise Unavailable("the embedded database", f"could not be set up: {_last(result.stderr)}")
    os.close(os.open(marker, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    os.chown(marker, account.pw_uid, account.pw_gid, follow_symlinks=False)


def _log(directory: Path) -> str:
    """The last words of the server: on its first output if it got no further, else in the newest log."""
    files = [path for path in (directory / "start.log", *(directory / "log").glob("*.log")) if path.exists()]
    texts = [path.read_text(errors="replace") for path in sorted(files, key=lambda path: path.stat().st_mtime)]
    return _last("\n".join(texts))


def _last(text: str, count: int = 4) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " / ".join(lines[-count:]) or "nothing was said"
