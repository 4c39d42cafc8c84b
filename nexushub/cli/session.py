"""The file of session tokens, one for each hub, in $XDG_STATE_HOME/nexushub/session. Mode 0600, written whole."""

from __future__ import annotations

import json
import os

from nexushub.errors import Configuration


def file() -> str:
    base = os.environ.get("XDG_STATE_HOME", "")
    return os.path.join(base if base.startswith("/") else os.path.expanduser("~/.local/state"), "nexushub", "session")


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
        with open(path, encoding="utf-8") as handle:
            status = os.fstat(handle.fileno())
            if status.st_mode & 0o077 or status.st_uid != os.geteuid():
                raise Configuration(path, "others can read or write it", hint=f"rm {path}, then: nexushub login")
            document = json.load(handle)
    except (FileNotFoundError, PermissionError, NotADirectoryError):
        return {}
    except (ValueError, OSError) as error:
        raise Configuration(path, f"it can't be read: {error}", hint=f"rm {path}, then: nexushub login") from error
    return {str(key): str(value) for key, value in document.items()} if isinstance(document, dict) else {}


def _write(tokens: dict[str, str]) -> None:
    path = file()
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    temporary = f"{path}.{os.getpid()}"
    try:
        with open(temporary, "x", opener=lambda name, flags: os.open(name, flags, 0o600)) as handle:
            json.dump(tokens, handle)
        os.replace(temporary, path)
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)
