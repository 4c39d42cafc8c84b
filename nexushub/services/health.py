"""The hub at a glance, and the database's side of ``doctor``."""

from __future__ import annotations

from sqlalchemy import text

import nexushub
from nexushub import models
from nexushub.services import drift, interfaces, needs, seal
from nexushub.views import Check, NodeView, StatusView
from nexushub.work import Work

_ALIVE_SECONDS = 15
_PATCHED = {13: 23, 14: 23, 15: 20, 16: 16, 17: 12, 18: 6}
"""The first minor release of each major whose pg_restore does not run code from a crafted dump (CVE-2026-116314)."""


@needs("status.read")
def status(w: Work) -> StatusView:
    """Node, interfaces, drift, and how many objects the kernel does not have yet or refused."""
    node = w.db.get_one(models.Node, w.node_id)
    seen = node.agent_seen_at
    running = seen is not None and (w.now - seen).total_seconds() < _ALIVE_SECONDS
    pending = w.db.connection().execute(
        text(
            "SELECT count(*) FROM (SELECT p.id, p.revision FROM peers p WHERE p.node_id = :n UNION ALL"
            " SELECT i.id, i.revision FROM interfaces i WHERE i.node_id = :n) o"
            " LEFT JOIN applied a ON a.node_id = :n AND a.object_id = o.id WHERE a.revision IS NULL OR a.revision < o.revision"
        ),
        {"n": w.node_id},
    ).scalar_one()  # fmt: skip
    failed = w.db.connection().execute(
        text("SELECT DISTINCT detail FROM applied WHERE node_id = :n AND result = 'failed' ORDER BY detail LIMIT 20"), {"n": w.node_id}
    ).scalars().all()  # fmt: skip
    view = NodeView(
        name=node.name, desired_revision=node.desired_revision, applied_revision=node.applied_revision,
        agent="running" if running else "not running", agent_seen_at=seen, backend=node.agent_backend, note=node.agent_note,
    )  # fmt: skip
    return StatusView(
        node=view, version=nexushub.__version__, interfaces=interfaces.listing(w), drift=drift.listing(w),
        pending=pending, failed=list(failed),
    )  # fmt: skip


@needs("status.read")
def checks(w: Work) -> list[Check]:
    """What can be asked of the database: its age, its durability, its roles, and whether the agent writes."""
    ask = w.db.connection().execute
    version = ask(text("SELECT current_setting('server_version_num')::int")).scalar_one()
    major, minor = version // 10000, version % 10000
    old = minor < _PATCHED.get(major, 0)
    found = [
        Check(
            name="PostgreSQL version", state="warning" if old else "ok", detail=f"{major}.{minor}",
            fix=f"apt-get install postgresql-{major} (a dump restored with an older client can run code)" if old else "",
        )
    ]  # fmt: skip
    for setting in ("fsync", "full_page_writes", "synchronous_commit"):
        value = ask(text("SELECT current_setting(:s)"), {"s": setting}).scalar_one()
        good = value in ("on", "remote_apply", "remote_write", "local")
        found.append(
            Check(
                name=f"PostgreSQL {setting}",
                state="ok" if good else "failed",
                detail=value,
                fix="" if good else f"ALTER SYSTEM SET {setting} = on; committed changes can be lost otherwise",
            )
        )
    role = ask(text("SELECT current_user")).scalar_one()
    least = role == "nexushub_app"
    found.append(Check(
        name="database role", state="ok" if least else "warning", detail=role,
        fix="" if least else "let the database's administrator create nexushub_app and nexushub_agent, then: nexushub db upgrade",
    ))  # fmt: skip
    node = status(w).node
    found.append(Check(
        name="agent", state="ok" if node.agent == "running" else "failed", detail=f"{node.agent} {node.note}".strip(),
        fix="" if node.agent == "running" else "systemctl start nexushub-agent, or open the TUI",
    ))  # fmt: skip
    return found


seal(__name__)
