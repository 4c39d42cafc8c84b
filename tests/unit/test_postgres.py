"""The embedded cluster, on Debian's real server: created, adopted, killed, refused."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from nexushub import postgres, postgresfiles
from nexushub.errors import Configuration, NexusError, Unavailable

Starter = Callable[[], postgres.Cluster]


@pytest.fixture
def home() -> Iterator[Path]:
    """A directory that other users can pass through, short enough for a socket."""
    directory = Path(tempfile.mkdtemp(prefix="nxt-", dir="/tmp"))
    directory.chmod(0o711)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def made() -> Iterator[Path]:
    """The state directory of a cluster that was created and stopped: copying it takes a tenth of making one."""
    directory = Path(tempfile.mkdtemp(prefix="nxt-", dir="/tmp"))
    directory.chmod(0o711)
    postgres.stop(postgres.start(directory / "state", directory / "run"))
    yield directory / "state"
    shutil.rmtree(directory)


@pytest.fixture
def start_from_nothing(home: Path) -> Iterator[Starter]:
    started: list[postgres.Cluster] = []

    def starter() -> postgres.Cluster:
        started.append(postgres.start(home / "state", home / "run"))
        return started[-1]

    yield starter
    for cluster in started:
        postgres.stop(cluster)
    assert not (home / "state/pg/data/postmaster.pid").exists(), "a server was left behind"


@pytest.fixture
def start(home: Path, made: Path, start_from_nothing: Starter) -> Starter:
    subprocess.run(["cp", "-a", str(made), str(home / "state")], check=True)
    return start_from_nothing


def _pid(home: Path) -> int:
    return int((home / "state/pg/data/postmaster.pid").read_text().split()[0])


def _query(cluster: postgres.Cluster, query: str, role: str = "nexushub_owner") -> str:
    with psycopg.connect(cluster.dsn(role), autocommit=True) as connection:
        row = connection.execute(query).fetchone()
    assert row is not None
    return str(row[0])


def test_created_and_kept_over_a_restart(start_from_nothing: Starter) -> None:
    first = start_from_nothing()
    assert first.started
    assert first.version.split(".")[0].isdigit()
    with psycopg.connect(first.dsn("nexushub_owner"), autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 'ß' AS word")
    assert postgres.stop(first)
    began = time.monotonic()
    again = start_from_nothing()
    print(f"second start {time.monotonic() - began:.3f} s")
    assert again.started
    assert _query(again, "SELECT word FROM kept") == "ß"


def test_safe_settings(start: Starter) -> None:
    cluster = start()
    for name, value in {
        "listen_addresses": "",
        "fsync": "on",
        "full_page_writes": "on",
        "synchronous_commit": "on",
        "data_checksums": "on",
        "server_encoding": "UTF8",
        "lc_ctype": "C.UTF-8",
        "max_connections": "60",
        "shared_buffers": "64MB",
        "log_min_error_statement": "panic",
    }.items():
        assert _query(cluster, f"SHOW {name}") == value, name
    assert _query(cluster, "SELECT count(*) FROM pg_extension WHERE extname = 'btree_gist'") == "1"
    powers = "rolsuper OR rolcreaterole OR rolcreatedb OR rolbypassrls OR rolreplication"
    assert _query(cluster, f"SELECT count(*) FROM pg_roles WHERE rolname LIKE 'nexushub%' AND ({powers})") == "0"


@pytest.mark.parametrize("role", postgresfiles.ROLES)
def test_every_role_signs_in(cluster: postgres.Cluster, role: str) -> None:
    assert _query(cluster, "SELECT current_user", role) == role


def test_only_its_user_reads_the_files(start: Starter, home: Path) -> None:
    start()
    owner = "postgres" if os.geteuid() == 0 else Path.home().owner()
    for directory in (home / "state/pg", home / "state/pg/data", home / "run/pg"):
        assert directory.owner() == owner
        assert directory.stat().st_mode & 0o077 == 0, directory


def test_second_start_adopts_and_the_last_one_out_stops_it(start: Starter, home: Path) -> None:
    first, second = start(), start()
    assert (first.started, second.started) == (True, False)
    pid = _pid(home)
    assert not postgres.stop(first), "the server was ended while somebody used it"
    assert not postgres.stop(first), "a hold was let go twice"
    assert _query(second, "SELECT 1") == "1"
    assert _pid(home) == pid
    assert postgres.stop(second)


def test_concurrent_starters_make_one_cluster(start_from_nothing: Starter) -> None:
    clusters: list[postgres.Cluster] = []
    threads = [threading.Thread(target=lambda: clusters.append(start_from_nothing())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(cluster.started for cluster in clusters) == [False, False, False, True]
    assert {_query(cluster, "SELECT pg_postmaster_start_time()") for cluster in clusters} != set()
    assert len({_query(cluster, "SELECT pg_postmaster_start_time()") for cluster in clusters}) == 1


def test_a_killed_holder_keeps_nothing_running(start: Starter, home: Path) -> None:
    program = "import sys, time; from pathlib import Path; from nexushub import postgres; p = Path(sys.argv[1]);"
    program += "c = postgres.start(p / 'state', p / 'run'); print('up', flush=True); time.sleep(60)"
    holder = subprocess.Popen([".venv/bin/python", "-c", program, str(home)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout
    assert holder.stdout.readline() == "up\n"
    holder.kill()
    holder.wait()
    holder.stdout.close()
    heir = start()
    assert not heir.started, "the server outlives the process that started it"
    assert postgres.stop(heir), "nobody else used it, so it had to end"


@pytest.mark.parametrize("whole", [False, True], ids=["main process", "every process"])
def test_killed_server_recovers(start: Starter, home: Path, whole: bool) -> None:
    first = start()
    with psycopg.connect(first.dsn("nexushub_owner"), autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n")
    pid = _pid(home)
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    os.kill(pid, signal.SIGKILL)
    for child in children if whole else []:
        os.kill(int(child), signal.SIGKILL)
    assert (home / "state/pg/data/postmaster.pid").exists(), "the lock file was meant to be left behind"
    began = time.monotonic()
    again = start()
    print(f"start after kill -9 {time.monotonic() - began:.3f} s")
    assert again.started
    assert _query(again, "SELECT count(*) FROM kept") == "1000"


def test_reused_process_id_does_not_block_the_start(start: Starter, home: Path) -> None:
    first = start()
    pid_file = home / "state/pg/data/postmaster.pid"
    lines = pid_file.read_text().splitlines()
    assert postgres.stop(first)
    # As after a power cut: the number now belongs to another process of the same user, which blocks the server.
    as_server = ["setpriv", f"--reuid={pid_file.parent.stat().st_uid}", "--clear-groups"] if os.geteuid() == 0 else []
    other = subprocess.Popen([*as_server, "sleep", "60"], cwd="/")
    try:
        pid_file.write_text("\n".join([str(other.pid), *lines[1:]]) + "\n")
        shutil.chown(pid_file, pid_file.parent.owner(), pid_file.parent.group())
        assert start().started
    finally:
        other.kill()
        other.wait()


def test_crash_before_the_roles_were_made_is_mended(start: Starter, home: Path) -> None:
    first = start()
    with psycopg.connect(first.dsn("postgres", "postgres"), autocommit=True) as connection:
        connection.execute("DROP DATABASE nexushub")
        connection.execute("DROP ROLE nexushub_backup")
    assert postgres.stop(first)
    (home / "state/pg/set-up").unlink()
    assert _query(start(), "SELECT current_user", "nexushub_backup") == "nexushub_backup"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_other_users_of_the_machine_are_refused(start: Starter, home: Path) -> None:
    cluster = start()
    argv = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", str(cluster.binaries / "psql")]
    argv += ["-X", "-At", "-c", "SELECT current_user", cluster.dsn("nexushub_app")]
    by_mode = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert "Permission denied" in by_mode.stderr
    # The second wall: with the socket open to all, the server itself asks who is there.
    (home / "run/pg").chmod(0o711)
    (home / "run/pg/.s.PGSQL.5432").chmod(0o777)
    by_name = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert "Peer authentication failed" in by_name.stderr
    assert by_mode.returncode == by_name.returncode == 2


def test_server_gets_nothing_of_our_environment(start: Starter, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PEER_KEY_ENCRYPTION_KEY", "1:c2VjcmV0")
    monkeypatch.setenv("PGDATABASE", "elsewhere")
    start()
    environment = Path(f"/proc/{_pid(home)}/environ").read_bytes()
    assert b"PATH=" in environment
    assert b"PEER_KEY" not in environment
    assert b"PGDATABASE" not in environment


def test_rejected_rows_stay_out_of_the_log(start: Starter, home: Path) -> None:
    cluster = start()
    with psycopg.connect(cluster.dsn("nexushub_owner"), autocommit=True) as connection:
        connection.execute("CREATE TABLE secret (sealed text CHECK (length(sealed) < 3))")
        with pytest.raises(psycopg.errors.CheckViolation):
            connection.execute("INSERT INTO secret VALUES ('sealed-key')")
    log = "".join(path.read_text() for path in (home / "state/pg/log").glob("*.log"))
    assert "secret_sealed_check" in log
    assert "sealed-key" not in log


def test_socket_path_too_long(home: Path) -> None:
    run_dir = home / ("r" * 90)
    with pytest.raises(Configuration, match=r"would have \d+ bytes, and Unix allows 107") as caught:
        postgres.start(home / "state", run_dir)
    assert "NEXUSHUB_RUN_DIR" in caught.value.hint
    assert not (home / "state").exists(), "a refused start wrote something"


def test_path_of_exactly_the_limit_works(home: Path) -> None:
    run_dir = home / ("r" * (postgres.SOCKET_PATH_MAX - len(f"{home}//pg/.s.PGSQL.5432")))
    cluster = postgres.start(home / "state", run_dir)
    try:
        assert _query(cluster, "SELECT 1") == "1"
    finally:
        postgres.stop(cluster)


def test_data_of_a_version_that_is_not_installed(start: Starter, home: Path) -> None:
    postgres.stop(start())
    version = home / "state/pg/data/PG_VERSION"
    kept = version.read_text()
    version.write_text("9\n")
    with pytest.raises(Configuration, match="was made by PostgreSQL 9, and this machine has") as caught:
        start()
    assert "postgresql-9" in caught.value.hint
    version.write_text(kept)
    assert start().started


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a directory away")
def test_directory_of_another_user(start: Starter, home: Path) -> None:
    postgres.stop(start())
    directory = home / "state/pg"
    kept = directory.stat().st_uid
    os.chown(directory, 65534, -1)
    with pytest.raises(Configuration, match="belongs to user id 65534"):
        start()
    os.chown(directory, kept, -1)
    assert start().started


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has a home that the server can't enter")
def test_state_directory_out_of_reach_names_the_wall(home: Path) -> None:
    wall = home / "closed"
    wall.mkdir(mode=0o700)
    with pytest.raises(Configuration, match=f"can't pass through {wall}") as caught:
        postgres.start(wall / "state", home / "run")
    assert "NEXUSHUB_STATE_DIR" in caught.value.hint
    assert wall.stat().st_mode & 0o777 == 0o700, "a directory that is not ours was opened"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount")
def test_full_disk_says_so_and_leaves_nothing(home: Path) -> None:
    small = home / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m,mode=711", "nxt-small", str(small)], check=True)
    try:
        with pytest.raises(Unavailable, match="No space left on device"):
            postgres.start(small / "state", home / "run")
        assert not list((small / "state/pg").glob("data*"))
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_broken_data_shows_the_last_lines_of_the_log(start: Starter, home: Path) -> None:
    postgres.stop(start())
    control = home / "state/pg/data/global/pg_control"
    kept = control.read_bytes()
    control.write_bytes(b"\0" * len(kept))
    with pytest.raises(NexusError, match="database files are incompatible with server"):
        start()
    control.write_bytes(kept)
    assert start().started


def test_no_server_programs(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "BINARIES", home / "nowhere")
    with pytest.raises(Configuration, match="server programs are not in") as caught:
        postgres.start(home / "state", home / "run")
    assert "NEXUSHUB_DATABASE_URL" in caught.value.hint
