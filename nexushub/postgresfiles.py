"""What the embedded PostgreSQL is told: its settings, who may connect, and the roles made in it at first."""

from __future__ import annotations

import os
import pwd
import tempfile
from collections.abc import Mapping
from pathlib import Path

ROLES = ("nexushub_owner", "nexushub_app", "nexushub_agent", "nexushub_retention", "nexushub_backup")
DATABASE = "nexushub"
PORT = 5432

# A hub is a small machine with other work. Terse errors without statements keep row contents, and with them
# sealed keys and password hashes, out of the log.
_SETTINGS = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "max_connections": "60",
    "shared_buffers": "64MB",
    "max_wal_size": "256MB",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "lc_messages": "C",
    "logging_collector": "on",
    "log_filename": "%a.log",
    "log_truncate_on_rotation": "on",
    "log_rotation_age": "1d",
    "log_rotation_size": "0",
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
}

# Read by psql, whose variables quote what they insert.
SET_UP = r"""
SELECT format('CREATE ROLE %I LOGIN', name) FROM unnest(string_to_array(:'roles', ' ')) AS name
 WHERE NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = name) \gexec
SELECT format('CREATE DATABASE %I OWNER nexushub_owner', :'database')
 WHERE NOT EXISTS (SELECT 1 FROM pg_database WHERE datname = :'database') \gexec
REVOKE ALL ON DATABASE :"database", postgres FROM PUBLIC;
SELECT format('GRANT CONNECT ON DATABASE %I TO %I', :'database', name)
  FROM unnest(string_to_array(:'roles', ' ')) AS name \gexec
\connect :"database"
CREATE EXTENSION IF NOT EXISTS btree_gist;
"""


def write(directory: Path, socket_directory: Path, account: pwd.struct_passwd) -> None:
    """Write the files that decide who may connect and how. At every start, so that an update takes effect."""
    log = {"log_directory": str(directory / "log"), "unix_socket_directories": str(socket_directory)}
    lines = [f"{key} = {_setting(value)}" for key, value in {**_SETTINGS, **log}.items()]
    caller = pwd.getpwuid(os.geteuid()).pw_name
    people = sorted({"root", "postgres", caller})
    files: Mapping[str, list[str]] = {
        "postgresql.conf": lines,
        "pg_hba.conf": ["local all all peer map=nexushub"],
        "pg_ident.conf": [f'nexushub "{person}" {role}' for person in people for role in (*ROLES, "postgres")],
    }
    for name, content in files.items():
        # A new file renamed into place: written by root into a directory of postgres, it must follow no link.
        handle, temporary = tempfile.mkstemp(dir=directory / "data")
        with os.fdopen(handle, "w") as file:
            file.write("\n".join(content) + "\n")
            os.fchown(handle, account.pw_uid, account.pw_gid)
        os.rename(temporary, directory / "data" / name)


def _setting(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
