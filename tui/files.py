"""Files that hold keys: a new peer's, and writing them."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from nexushub import clientconf
from nexushub.services.clients import PeerConfig
from nexushub.views import CreatedPeer


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


def config_of(created: CreatedPeer) -> PeerConfig:
    """The file of a peer just made. When its key is not kept, nothing can spell the file again, so the compact
    spelling is made from the text: the same lines without comments and spaces."""
    compact = "\n".join(
        line.replace(" ", "") for line in created.config.splitlines() if line and not line.startswith("#")
    )
    return PeerConfig(
        name=created.peer.name, file_name=clientconf.file_name(created.peer.name), text=created.config,
        compact=compact, has_private_key=clientconf.PLACEHOLDER not in created.config,
    )  # fmt: skip
