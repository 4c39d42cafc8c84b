"""The file of session tokens, one for each hub, in $XDG_STATE_HOME/nexushub/session. Mode 0600, written whole."""

from __future__ import annotations

import json
import os
from pathlib import Path

from nexushub.errors import Configuration


def file() -> Path:
    base = os.environ.get("XDG_STATE_HOME", "")
    root = Path(base) if base.startswith("/") else Path.home() / ".local" / "state"
    return root / "nexushub" / "session"


def find(key: str) -> str:
    """The stored token for a hub, empty when there is none."""
    return _read().get(key, "")


def keep(key: str, token: str) -> None:
    _write(_read() | {key: token})


def forget(key: str) -> None:
    """Drop a hub's token; nothing when there is none."""
    present = _read()
    if present.pop(key, None) is not None:
        _write(present)


def _read() -> dict[str, str]:
    path = file()
    try:
        status = path.stat()
        if status.st_mode & 0o077 or status.st_uid != os.geteuid():
            raise Configuration(str(path), "others can read or write it", hint=f"rm {path}, then: nexushub login")
        document = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except PermissionError:
        return {}
    except (ValueError, OSError) as error:
        raise Configuration(str(path), f"it can't be read: {error}", hint=f"rm {path}, then: nexushub login") from error
    return {str(key): str(value) for key, value in document.items()} if isinstance(document, dict) else {}


def _write(tokens: dict[str, str]) -> None:
    path = file()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f"session.{os.getpid()}")
    try:
        with open(
            temporary, "w", opener=lambda name, flags: os.open(name, flags | os.O_EXCL | os.O_CREAT, 0o600)
        ) as handle:
            json.dump(tokens, handle)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
