"""The API's client: HTTP/1.1 by hand over the unix socket, ``http.client`` for other servers.

By hand, since ``http.client`` with its e-mail parser costs 15 ms of a command's 40. One request a connection,
read to its end, its length checked.
"""

from __future__ import annotations

import json
import os
import socket
from typing import Any, NamedTuple, NoReturn

from nexushub.cli import exits, session
from nexushub.cli.options import meta
from nexushub.errors import Configuration, SignIn, Unavailable

PREFIX = "/api/v1"
TIMEOUT_S = 60.0
"""A thousand peers in one transaction take seconds; nothing takes longer than this."""
_ANSWER_LIMIT = 256 * 1024 * 1024
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_KEYS = ("run_dir", "server", "token")


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


class Place(NamedTuple):
    """Which hub a command talks to."""

    server: str
    """A URL, or empty for this machine's socket."""
    socket: str
    token: str
    """From the environment or the file; a stored session is looked up apart."""

    @property
    def key(self) -> str:
        return self.server or f"unix:{self.socket}"


def place() -> Place:
    """Where to: ``--server``, then the environment, then the settings file, then this machine's socket.

    The settings file is parsed only when it speaks of this: reading TOML costs 15 ms.
    """
    values = {
        "run_dir": os.environ.get("NEXUSHUB_RUN_DIR", ""),
        "server": meta("server") or os.environ.get("NEXUSHUB_SERVER", ""),
        "token": os.environ.get("NEXUSHUB_TOKEN", ""),
    }
    missing = [key for key in _KEYS if not values[key]]
    try:
        with open(
            os.environ.get("NEXUSHUB_CONFIG", "/etc/nexushub/nexushub.toml"), encoding="utf-8", errors="replace"
        ) as file:
            text = file.read()
    except OSError:
        text = ""
    if any(key in text for key in missing):
        from nexushub import config

        settings = config.load()
        values |= {key: str(getattr(settings, key)) for key in missing}
    run_dir = values["run_dir"] or "/run/nexushub"
    return Place(values["server"].rstrip("/"), f"{run_dir}/api.sock", values["token"])


def quote(text: str) -> str:
    """Percent-encode everything but unreserved characters (RFC 3986). ``urllib.parse`` would cost 3 ms."""
    return "".join(
        chr(byte) if byte in _UNRESERVED else f"%{byte:02X}" for byte in text.encode("utf-8", "surrogateescape")
    )


def path(*parts: str) -> str:
    """A path of the API; parts are names, quoted."""
    return PREFIX + "".join("/" + quote(part) for part in parts)


def query(**values: Any) -> str:
    """A query string of what is set."""
    found = [f"{key}={quote(str(value))}" for key, value in values.items() if value not in (None, "", False)]
    return "?" + "&".join(found) if found else ""


def get(*parts: str, **values: Any) -> Any:
    return call("GET", path(*parts) + query(**values))


def post(*parts: str, body: Any = None) -> Any:
    return call("POST", path(*parts), body)


def patch(*parts: str, body: Any, version: str = "*") -> Any:
    return call("PATCH", path(*parts), body, if_match=version)


def delete(*parts: str, version: str = "*") -> Any:
    return call("DELETE", path(*parts), if_match=version)


def call(method: str, target: str, body: Any = None, *, if_match: str = "") -> Any:
    """Ask, and return the answer's JSON (None for none). What the server refuses is raised as ``Refused``."""
    reply = ask(method, target, body, if_match=if_match)
    if not reply.body:
        return None
    try:
        return json.loads(reply.body)
    except ValueError as error:
        raise Unavailable(
            "the server", "answered with something that is not JSON", hint="Is this URL a NexusHub?"
        ) from error


def ask(method: str, target: str, body: Any = None, *, if_match: str = "", timeout: float = TIMEOUT_S) -> Reply:
    """One request; anything but a 2xx becomes an error."""
    where = place()
    headers = {"Accept": "application/json", "User-Agent": "nexushub-cli"}
    token, stored = where.token, False
    if not token:
        token = session.find(where.key)
        stored = bool(token)
    if token:
        headers["Authorization"] = f"Bearer {_header_safe(token)}"
    if if_match:
        headers["If-Match"] = if_match
    data = b""
    if body is not None:
        data = json.dumps(body).encode()
        headers["Content-Type"] = "application/json"
    reply = (
        _over_tcp(where.server, method, target, headers, data, timeout)
        if where.server
        else _over_unix(where.socket, method, target, headers, data, timeout)
    )
    if 200 <= reply.status < 300:
        return reply
    if reply.status == 401 and stored:
        session.forget(where.key)
        raise SignIn(
            "The session has ended.",
            hint="Sign in again: nexushub login."
            + (" Or repeat the command as root of this machine." if os.geteuid() == 0 and not where.server else ""),
        )
    _refuse(reply)


def _refuse(reply: Reply) -> NoReturn:
    try:
        problem = json.loads(reply.body)
        raise exits.Refused(
            str(problem["code"]), str(problem["detail"]), hint=str(problem.get("hint", "")), status=reply.status
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        words = reply.body[:200].decode("utf-8", "replace").strip()
        raise exits.Refused(
            f"http_{reply.status}", f"The server answered {reply.status}: {words}", status=reply.status
        ) from None


def _header_safe(token: str) -> str:
    if not token.isascii() or not token.isprintable() or " " in token:
        raise Configuration("NEXUSHUB_TOKEN", "it has characters that no token has")
    return token


def _over_unix(  # noqa: PLR0917 - a request has so many parts
    socket_path: str, method: str, target: str, headers: dict[str, str], data: bytes, timeout: float
) -> Reply:
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if data or method in ("POST", "PATCH"):
        lines.append(f"Content-Length: {len(data)}")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as conn:
        conn.settimeout(timeout)
        try:
            conn.connect(socket_path)
            conn.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("ascii") + data)
            answer = _read(conn)
        except (FileNotFoundError, ConnectionError) as error:
            raise Unavailable(
                "the server", "is not running", hint="systemctl start nexushub, or open the TUI, which brings its own."
            ) from error
        except PermissionError as error:
            raise SignIn(
                f"This user may not open {socket_path}.",
                hint="Run the command with sudo, or as a member of the socket's group after nexushub login.",
            ) from error
        except TimeoutError as error:
            raise Unavailable("the server", f"did not answer in {timeout:g} s") from error
        except OSError as error:
            raise Unavailable("the server", f"can't be reached at {socket_path}: {error.strerror or error}") from error
    return _parse(answer)


def _read(conn: socket.socket) -> bytes:
    parts = []
    total = 0
    while part := conn.recv(262144):
        parts.append(part)
        total += len(part)
        if total > _ANSWER_LIMIT:
            raise Unavailable("the server", "sent more than 256 MiB")
    return b"".join(parts)


def _parse(answer: bytes) -> Reply:
    head, end, body = answer.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    words = lines[0].split(" ", 2)
    if not end or len(words) < 2 or not words[0].startswith("HTTP/1.") or not words[1].isdigit():
        raise Unavailable("the server", "closed the connection before it had answered", hint="Its log may say why.")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    status = int(words[1])
    if status != 204 and headers.get("content-length") != str(len(body)):
        raise Unavailable("the server", "closed the connection in the middle of its answer")
    return Reply(status, headers, body)


def _over_tcp(  # noqa: PLR0917 - as above
    server: str, method: str, target: str, headers: dict[str, str], data: bytes, timeout: float
) -> Reply:
    import http.client
    import ssl
    from urllib.parse import urlsplit

    try:
        url = urlsplit(server)
        host, port = url.hostname or "", url.port
    except ValueError as error:
        raise Configuration("server", f"{server!r}: {error}") from error
    if url.scheme not in ("http", "https") or not host or url.query or url.fragment or url.username:
        raise Configuration("server", f"{server!r} is not a URL such as https://hub.example.org")
    if url.scheme == "http" and host not in _LOOPBACK:
        raise Configuration(
            "server", f"{server!r} would send the token unencrypted", hint="Use https://, or forward the port with ssh."
        )
    conn: http.client.HTTPConnection
    if url.scheme == "https":
        conn = http.client.HTTPSConnection(host, port, timeout=timeout, context=ssl.create_default_context())
    else:
        conn = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        conn.request(method, url.path.rstrip("/") + target, body=data or None, headers=headers)
        response = conn.getresponse()
        return Reply(
            response.status,
            {name.lower(): value for name, value in response.getheaders()},
            response.read(_ANSWER_LIMIT),
        )
    except (OSError, http.client.HTTPException) as error:
        raise Unavailable(server, f"can't be reached: {error}") from error
    finally:
        conn.close()
