"""A real agent, in the hub's namespace of a lab, over the test's own database."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from nexushub import config, labnet
from nexushub.errors import Unavailable
from nexushub.kernel.remote import AgentClient
from nexushub.labnet import Record
from nexushub.services import interfaces
from nexushub.views import Actor
from nexushub.work import Hub
from tests.fix_db import Database
from tests.fix_hub import MASTER_KEY

REPOSITORY = Path(__file__).resolve().parent.parent


def until(condition: Callable[[], object], seconds: float, what: str | Callable[[], str]) -> float:
    """Wait until a condition holds; how long it took. Fails the test, saying what did not happen."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > seconds:
            pytest.fail(f"after {seconds} s: {what() if callable(what) else what}")
        time.sleep(0.02)
    return time.monotonic() - began


@dataclass
class AgentProcess:
    """An agent that can be stopped, killed and started again."""

    settings: config.Settings
    dsn: str
    namespace: str
    log: Path
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0
    environment: dict[str, str] = field(default_factory=dict)

    def start(self, *, ready: bool = True) -> None:
        environ = {
            "PATH": os.environ["PATH"],
            "NEXUSHUB_DATABASE_URL": self.dsn,
            "PEER_KEY_ENCRYPTION_KEY_FILE": str(self.settings.master_key_file),
            "NEXUSHUB_STATE_DIR": str(self.settings.state_dir),
            "NEXUSHUB_RUN_DIR": str(self.settings.run_dir),
            "NEXUSHUB_NODE": self.settings.node,
            "NEXUSHUB_CONFIG": "/nonexistent.toml",
            "PYTHONWARNINGS": "error",
        } | self.environment
        self.settings.master_key_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.settings.master_key_file.touch(0o600)
        self.settings.master_key_file.write_text(MASTER_KEY)
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                ["ip", "netns", "exec", self.namespace, sys.executable, "-m", "nexushub", "agent"],
                cwd=REPOSITORY, env=environ, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
            )  # fmt: skip
        self.starts += 1
        if ready:
            until(self.answers, 15, lambda: f"the agent did not answer; its log:\n{self.log.read_text()}")

    def answers(self) -> bool:
        with suppress(Unavailable):
            return AgentClient(self.settings.agent_socket).status().b >= 0
        return False

    def kill(self) -> None:
        assert self.process is not None, "it runs"
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(15)


@dataclass
class LabHub:
    """A hub whose agent runs in a lab: services in this process, kernel in the namespace."""

    hub: Hub
    root: Actor
    agent: AgentProcess
    record: Record
    name: str
    """The WireGuard link's name, unique on the machine."""

    @property
    def sites(self) -> tuple[labnet.Site, ...]:
        return self.record.topology.sites

    def wg(self, *arguments: str) -> str:
        """Run ``wg`` in the hub's namespace."""
        return labnet.inside(self.agent.namespace, ["wg", *arguments]).stdout

    def ip(self, *arguments: str) -> str:
        return labnet.inside(self.agent.namespace, ["ip", *arguments]).stdout


@pytest.fixture
def agent_in(settings: config.Settings, database: Database, tmp_path: Path) -> Iterator[Callable[[str], AgentProcess]]:
    """Call it with a namespace: an agent there, not started yet; ended after the test."""
    made: list[AgentProcess] = []

    def make(namespace: str) -> AgentProcess:
        made.append(AgentProcess(settings, database.dsn("nexushub_agent"), namespace, tmp_path / "agent.log"))
        return made[-1]

    yield make
    for agent in made:
        agent.stop()


@pytest.fixture
def lab_hub(
    hub: Hub, root: Actor, agent_in: Callable[[str], AgentProcess], lab_net: Callable[[int], Record], tmp_path: Path
) -> LabHub:
    """Two client namespaces and a hub with an interface that has IPv4 and IPv6, applied by a real agent."""
    record = lab_net(2)
    site = record.topology.hub
    record.links[site.link] = site.namespace
    record.save()
    agent = agent_in(site.namespace)
    agent.start()
    name = site.link.replace("-", "")[:15]
    record.links[name] = site.namespace
    record.save()
    with hub.work(root) as w:
        interfaces.create(
            w, name=name, addresses=["10.8.0.1/24", "fd00:8::1/64"], endpoint=f"{site.address}:51820", listen_port=51820
        )
    assert w.truth.applied, f"{w.truth}\n{agent.log.read_text()}"
    return LabHub(hub, root, agent, record, name)
