"""Settings: flag > environment > /etc/nexushub/nexushub.toml > default, from one table.

The table feeds the TOML file, the environment, ``--help`` and nexushub.toml(5). An unknown key in the file is
an error that names the nearest known one, since a misspelt setting that is silently ignored is a setting that
lies. Standard library only: every process reads this before anything else.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
import socket
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from nexushub.errors import Configuration

CONFIG_FILE = Path("/etc/nexushub/nexushub.toml")


@dataclass(frozen=True, slots=True)
class Setting:
    """One line of the table: where a value may come from and what it means."""

    key: str
    """Its name in nexushub.toml."""
    variable: str
    default: str
    help: str
    secret: bool = False


SETTINGS = (
    Setting("database_url", "NEXUSHUB_DATABASE_URL", "", "PostgreSQL DSN, several hosts allowed. Unset: a private cluster in the state directory, started and stopped by NexusHub.", secret=True),
    Setting("peer_key_encryption_key", "PEER_KEY_ENCRYPTION_KEY", "", "One or more keys, newest first, separated by commas; each ID:BASE64-OF-32-BYTES. Prefer the file.", secret=True),
    Setting("peer_key_encryption_key_file", "PEER_KEY_ENCRYPTION_KEY_FILE", "", "A file that holds them, mode 0600. Unset: the systemd credential peer_key_encryption_key, then the state directory's keys/master.key."),
    Setting("listen", "NEXUSHUB_LISTEN", "127.0.0.1:8080", "Address and port of the dashboard and API."),
    Setting("trusted_proxies", "NEXUSHUB_TRUSTED_PROXIES", "", "CIDRs, separated by commas, whose X-Forwarded-For counts."),
    Setting("state_dir", "NEXUSHUB_STATE_DIR", "/var/lib/nexushub", "Keys, snapshots, the embedded database."),
    Setting("run_dir", "NEXUSHUB_RUN_DIR", "/run/nexushub", "Sockets of the API, the agent and the embedded database."),
    Setting("node", "NEXUSHUB_NODE", "", "This hub's name. Default: the host name."),
    Setting("audit_retention_days", "NEXUSHUB_AUDIT_RETENTION_DAYS", "90", "Days that audit rows are kept."),
    Setting("log_retention_days", "NEXUSHUB_LOG_RETENTION_DAYS", "30", "Days that connection logs are kept."),
    Setting("server", "NEXUSHUB_SERVER", "", "For the command line: the URL of another hub's API."),
    Setting("token", "NEXUSHUB_TOKEN", "", "For the command line: an API token.", secret=True),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting, parsed. ``source`` says for each key where its value came from, for ``doctor``."""

    database_url: str = field(repr=False)
    peer_key_encryption_key: str = field(repr=False)
    peer_key_encryption_key_file: Path | None
    listen: tuple[str, int]
    trusted_proxies: tuple[str, ...]
    state_dir: Path
    run_dir: Path
    node: str
    audit_retention_days: int
    log_retention_days: int
    server: str
    token: str = field(repr=False)
    source: Mapping[str, str] = field(default_factory=dict, compare=False)

    @property
    def embedded_database(self) -> bool:
        return not self.database_url

    @property
    def api_socket(self) -> Path:
        return self.run_dir / "api.sock"

    @property
    def agent_socket(self) -> Path:
        return self.run_dir / "agent.sock"

    @property
    def master_key_file(self) -> Path:
        """Where the embedded set-up generates the encryption key, mode 0600."""
        return self.state_dir / "keys" / "master.key"


def load(environ: Mapping[str, str] | None = None, *, file: Path | None = None, **flags: str) -> Settings:
    """Read the settings. ``Configuration`` names the key, the value's place and what is wrong with it."""
    environ = os.environ if environ is None else environ
    path = file or Path(environ.get("NEXUSHUB_CONFIG", CONFIG_FILE))
    from_file = _read(path)
    values: dict[str, str] = {}
    source: dict[str, str] = {}
    for setting in SETTINGS:
        if flags.get(setting.key):
            values[setting.key], source[setting.key] = flags[setting.key], "flag"
        elif environ.get(setting.variable):
            values[setting.key], source[setting.key] = environ[setting.variable], setting.variable
        elif setting.key in from_file:
            values[setting.key], source[setting.key] = from_file[setting.key], str(path)
        else:
            values[setting.key], source[setting.key] = setting.default, "default"
    key_file = values["peer_key_encryption_key_file"]
    return Settings(
        database_url=values["database_url"],
        peer_key_encryption_key=values["peer_key_encryption_key"],
        peer_key_encryption_key_file=Path(key_file) if key_file else None,
        listen=_listen(values["listen"], source["listen"]),
        trusted_proxies=_networks(values["trusted_proxies"], source["trusted_proxies"]),
        state_dir=_directory("state_dir", values, source),
        run_dir=_directory("run_dir", values, source),
        node=_node(values["node"], source["node"]),
        audit_retention_days=_days("audit_retention_days", values, source),
        log_retention_days=_days("log_retention_days", values, source),
        server=values["server"].rstrip("/"),
        token=values["token"],
        source=source,
    )


def _read(path: Path) -> dict[str, str]:
    try:
        document = tomllib.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Configuration(str(path), f"it can't be read: {error}") from error
    known = {setting.key for setting in SETTINGS}
    values: dict[str, str] = {}
    for key, value in document.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            raise Configuration(
                f"{path}: {key}", "there is no such setting", hint=f"Did you mean {near[0]}?" if near else ""
            )
        if isinstance(value, dict | float | bool):
            raise Configuration(f"{path}: {key}", "it must be a string, a number or a list")
        values[key] = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return values


def _listen(text: str, source: str) -> tuple[str, int]:
    match = re.fullmatch(r"(?:\[(?P<v6>[0-9a-fA-F:]+)\]|(?P<host>[^:\[\]]*)):(?P<port>\d{1,5})", text)
    if not match or not 0 < int(match["port"]) < 65536:
        raise Configuration("listen", f"{text!r} from {source} is not ADDRESS:PORT, such as 127.0.0.1:8080")
    return match["v6"] or match["host"] or "127.0.0.1", int(match["port"])


def _networks(text: str, source: str) -> tuple[str, ...]:
    networks = []
    for item in filter(None, (part.strip() for part in text.split(","))):
        try:
            networks.append(str(ipaddress.ip_network(item)))
        except ValueError as error:
            raise Configuration("trusted_proxies", f"{item!r} from {source}: {error}") from error
    return tuple(networks)


def _directory(key: str, values: Mapping[str, str], source: Mapping[str, str]) -> Path:
    path = Path(values[key])
    if not path.is_absolute():
        raise Configuration(key, f"{values[key]!r} from {source[key]} must be an absolute path")
    return path


def _node(text: str, source: str) -> str:
    name = text or socket.gethostname()
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", name):
        raise Configuration("node", f"{name!r} from {source} must be 1 to 63 letters, digits, '.', '_' or '-'")
    return name


def _days(key: str, values: Mapping[str, str], source: Mapping[str, str]) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", values[key]) or int(values[key]) < 1:
        raise Configuration(key, f"{values[key]!r} from {source[key]} must be a number of days, 1 or more")
    return int(values[key])
