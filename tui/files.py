"""Writing files that hold keys."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_private(path: Path, data: bytes, *, replace: bool) -> None:
    """Write a file with mode 0600 that is there whole or not at all.

    Without ``replace`` an existing file is never touched (``FileExistsError``); a link at its place is not followed.
    """
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            os.rename(temporary, path)
        else:
            os.link(temporary, path, follow_symlinks=False)
    finally:
        if not replace or os.path.lexists(temporary):
            os.unlink(temporary)
