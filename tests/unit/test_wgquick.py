"""The reader of wg-quick files, against the programs whose files they are."""

from __future__ import annotations

import random
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nexushub import clientconf, wgquick
from nexushub.errors import Invalid
from nexushub.kernel.values import Endpoint, SecretKey
from nexushub.wgquick import Refused, WgFile
from tests import configs, hostile
from tests.fix_kernel import Namespace, new_namespace, run

KEYS = [str(config.public_key) for config in configs.generate(6, seed=1)]
SECRET = configs.secret(random.Random(2)).reveal()
PSK = configs.secret(random.Random(3)).reveal()

FULL = f"""
[interface]
  privatekey={SECRET}
LISTENPORT = 51820
FwMark = 0xca6c
Address = 10.8.0.1/24, fd00:8::1/64
Address=192.168.9.1
DNS = 9.9.9.9 2620:fe::fe, corp.example
DNS = example.org
MTU = 1380
Table = off
SaveConfig = false

# Name = alice
[Peer]
PublicKey = {KEYS[0]} # not a name
PresharedKey = {PSK}
AllowedIPs = 10.8.0.2/32, fd00:8::2
AllowedIPs = 192.168.50.0/24
Endpoint = [2001:db8::7]:51820
PersistentKeepalive = off

[PEER]
PublicKey\t=\t{KEYS[1]}\r
AllowedIPs = 10.8.0.3\r
Endpoint = vpn.example.com:1
PersistentKeepalive = 25
"""


def peer(number: int, *lines: str) -> str:
    return "\n".join(["[Peer]", f"PublicKey = {KEYS[number]}", *lines, ""])


def interface(*lines: str) -> str:
    return "\n".join(["[Interface]", f"PrivateKey = {SECRET}", *lines, ""])


def outcome(text: str, *, drop_hooks: bool = False) -> WgFile | Invalid:
    """What reading gives; an error has to be the reader's own, and fit to print."""
    try:
        return wgquick.parse(text, drop_hooks=drop_hooks)
    except Invalid as refused:
        found = refused
    assert found.field == "config"
    assert str(found).isprintable()
    return found


def test_everything_a_file_can_say() -> None:
    file = wgquick.parse(FULL)
    assert file.private_key is not None
    assert file.private_key.reveal() == SECRET
    assert file.listen_port == 51820
    assert file.fwmark == 0xCA6C
    assert file.addresses == ("10.8.0.1/24", "fd00:8::1/64", "192.168.9.1/32")
    assert file.dns == ("9.9.9.9", "2620:fe::fe", "corp.example", "example.org")
    assert file.mtu == 1380
    assert file.table == "off"
    assert file.refused == ()
    alice, other = file.peers
    assert (alice.name, other.name) == ("alice", "")
    assert alice.spec.preshared_key is not None
    assert alice.spec.preshared_key.reveal() == PSK
    assert alice.spec.allowed_ips == ("10.8.0.2/32", "192.168.50.0/24", "fd00:8::2/128")
    assert alice.spec.endpoint == Endpoint("2001:db8::7", 51820)
    assert alice.spec.keepalive == 0
    assert other.spec.endpoint == Endpoint("vpn.example.com", 1)
    assert other.spec.keepalive == 25
    assert str(other.spec.public_key) == KEYS[1]


@pytest.mark.parametrize(
    ("above", "inside", "name"),
    [
        ("# Name = alice\n", "", "alice"),
        ("", "# Name = alice\n", "alice"),
        ("", "#Name# = alice\n", "alice"),
        ("", "#Name# alice\n", "alice"),
        ("### Client alice\n", "", "alice"),
        ("### begin alice ###\n", "", "alice"),
        ("# BEGIN_PEER alice\n", "", "alice"),
        ("# Client: alice (6ff3bd1c-7a1e-4a2b-9d1c-0a2b3c4d5e6f)\n", "", "alice"),
        ("# ID:           cq1\n# Name:         alice\n# Email:\n# Created at: 2026\n", "", "alice"),
        ("", "# friendly_name = alice\n", "alice"),
        ("# alice\n", "", "alice"),
        ("", "# alice\n", "alice"),
        ("#alice's phone\n", "", "alice's phone"),
        ("# section one\n# alice\n", "", "alice"),
        ("# 山田\n", "", "山田"),
        ("# not this\n\n", "", ""),
        ("# END_PEER bob\n", "", ""),
        ("# Endpoint = 192.0.2.1:1\n", "", ""),
        ("# Created at: 2026\n", "", ""),
        ("#\n", "", ""),
        ("# Name = a\x1b[2Jb\n", "", ""),
        ("# Name = a\u2028PostUp = id\n", "", ""),
        ("# Name = " + "x" * 65 + "\n", "", ""),
        ("# Name = [Peer]\n", "", ""),
    ],
)
def test_names_in_comments(above: str, inside: str, name: str) -> None:
    file = wgquick.parse(
        interface("ListenPort = 1", "# a word about it", "")
        + "# Name = first\n"
        + peer(0, "AllowedIPs = 10.8.0.2/32", "")
        + above
        + "[Peer]\n"
        + inside
        + f"PublicKey = {KEYS[1]}\n\n# the end\n"
    )
    assert [found.name for found in file.peers] == ["first", name]


def test_a_name_behind_the_header() -> None:
    assert wgquick.parse(interface() + peer(0).replace("[Peer]", "[Peer] # alice")).peers[0].name == "alice"


NO_TABLE = "it must be the name or number of a routing table, 'off' or 'auto'"
NO_KEY = "a WireGuard key is 44 characters of base64 that end in '='"
ZERO = "A" * 43 + "="
WRONG = {
    "": "there is no [Interface] section",
    "PrivateKey = x": "line 1: the file must begin with [Interface] or [Peer]",
    "\ufeff[Interface]": "line 1: the file must begin with [Interface] or [Peer]",
    "[Interfaces]": "line 1: '[Interfaces]' is not a section; there are [Interface] and [Peer]",
    "[Peer] x": "line 1: '[Peer] x' is not a section; there are [Interface] and [Peer]",
    interface() + "[Interface]": "line 3: a second [Interface]; the first is in line 1",
    interface("PostUp = iptables -A x"): "line 3: PostUp is not taken over: it runs commands as root",
    interface("MTU = 1420", "predown = id"): "line 4: PreDown is not taken over: it runs commands as root",
    interface("SaveConfig = true"): "line 3: SaveConfig is not taken over: the kernel would overwrite the file",
    interface("SaveConfig = maybe"): "line 3: SaveConfig is neither true nor false",
    interface("Adress = 10.8.0.1/24"): "line 3: [Interface] has no key 'Adress'; did you mean Address?",
    interface("Zzz = 1"): "line 3: [Interface] has no key 'Zzz'",
    interface("\x1b[2J = 1"): "line 3: [Interface] has no key '\\x1b[2J'",
    interface("Post\0Up = id"): "line 3: [Interface] has no key 'Post\\x00Up'; did you mean PostUp?",
    interface("MTU"): "line 3: MTU has no value",
    interface("MTU ="): "line 3: MTU has no value",
    interface("MTU = 1420", "MTU = 1380"): "line 4: MTU is given a second time; the first is in line 3",
    interface("MTU = 67"): "line 3: MTU '67': it must be a number from 68 to 65535",
    interface("MTU = ١٤٢٠"): "line 3: MTU has a character that does not belong there",
    interface("ListenPort = http"): "line 3: ListenPort 'http': it must be a number from 0 to 65535",
    interface("ListenPort = 65536"): "line 3: ListenPort '65536': it must be a number from 0 to 65535",
    interface("FwMark = -1"): "line 3: FwMark '-1': it must be a number from 0 to 4294967295",
    interface("Address = 010.0.0.1/24"): "line 3: Address '010.0.0.1/24': an octet with a leading zero is read as "
    "octal by some programs; write it without",
    interface("DNS = a b!c"): "line 3: DNS 'b!c': it is neither an IP address nor a host name",
    interface("Table = 1;id"): f"line 3: Table '1;id': {NO_TABLE}",
    interface("PrivateKey = x"): "line 3: PrivateKey is given a second time; the first is in line 2",
    "[Interface]\nPrivateKey = hunter2": f"line 2: PrivateKey: {NO_KEY}",
    interface() + "[Peer]\nAllowedIPs = 10.8.0.2": "line 3: this peer has no PublicKey",
    interface() + peer(0) + peer(0): "line 5: the peer of line 3 has the same PublicKey",
    interface() + peer(0, "AllowedIPs = 10.8.0.0/24") + peer(1, "AllowedIPs = 10.8.0.0/24"):
    "line 6: 10.8.0.0/24 is an allowed IP of the peer of line 3 already",
    interface() + peer(0, "AllowedIPs = 10.8.0.2/24"): "line 5: AllowedIPs '10.8.0.2/24': it has host bits set; the "
    "network is 10.8.0.0/24",
    interface() + peer(0, "AllowedIPs = 10.8.0.2,"): "line 5: AllowedIPs '': it is not an IPv4 or IPv6 address",
    interface() + peer(0, "Endpoint = 2001:db8::1:51820"): "line 5: Endpoint '2001:db8::1:51820': an IPv6 endpoint is "
    "written [2001:db8::1]:51820",
    interface() + peer(0, "PersistentKeepalive = on"):
    "line 5: PersistentKeepalive 'on': it must be a number from 0 to 65535",
    interface() + peer(0, "PostUp = id"): "line 5: [Peer] has no key 'PostUp'",
    interface() + peer(0, f"PresharedKey = {ZERO}"):
    "line 5: PresharedKey: the all-zero key means 'no key' to the kernel",
    interface() + f"[Peer]\nPublicKey = {ZERO}":
    f"line 4: PublicKey '{ZERO}': it is a low-order point, which no WireGuard peer can have",
}  # fmt: skip


@pytest.mark.parametrize("text", WRONG, ids=lambda text: ascii(WRONG[text])[:60])
def test_errors_name_the_line(text: str) -> None:
    with pytest.raises(Invalid) as refused:
        wgquick.parse(text)
    assert refused.value.field == "config"
    assert refused.value.reason == WRONG[text]
    assert "hunter2" not in str(refused.value)


def test_hooks_can_be_left_out_and_are_listed() -> None:
    text = interface("PostUp = iptables -A ☠", "postup = b", "PreDown = c", "SaveConfig = true", "MTU = 1400")
    file = wgquick.parse(text, drop_hooks=True)
    assert file.refused == (Refused(3, "PostUp"), Refused(4, "PostUp"), Refused(5, "PreDown"), Refused(6, "SaveConfig"))
    assert file.mtu == 1400
    assert "iptables" not in repr(file)


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\r"])
def test_only_a_line_feed_ends_a_line(separator: str) -> None:
    file = wgquick.parse(interface(f"# note{separator}PostUp = id{separator}") + peer(0))
    assert file.refused == ()
    with pytest.raises(Invalid):
        wgquick.parse(interface(f"MTU = 1420{separator}PostUp = id"))


@pytest.mark.parametrize("text", hostile.PAYLOADS, ids=ascii)
def test_payloads_anywhere_in_a_file(text: str) -> None:
    for place in (interface("# " + text) + peer(0), f"# {text}\n" + interface() + peer(0, f"# {text}")):
        found = outcome(place)
        if isinstance(found, WgFile):
            assert len(found.peers) == 1
            assert found.peers[0].name.isprintable()
    for place in (interface(text), interface(f"DNS = {text}"), interface(f"{text} = 1"), interface() + f"[{text}]"):
        outcome(place)


def test_ten_thousand_peers_are_read_in_linear_time() -> None:
    keys = [str(config.public_key) for config in configs.generate(1000, seed=9)]
    text = interface() + "".join(
        f"[Peer]\nPublicKey = {key}\nAllowedIPs = 10.{n // 256}.{n % 256}.0/24\n" for n, key in enumerate(keys)
    )
    assert len(wgquick.parse(text).peers) == 1000


# -- fuzz


_WORDS = st.sampled_from(
    ["[Interface]", "[Peer]", "[peer", "]", "#", "=", ",", "\n", "\r\n", " ", "\t", "\0", "\u2028", "off", "0x", "::",
     "/", "PrivateKey = ", "PublicKey=", "AllowedIPs = ", "Address = ", "DNS=", "MTU=", "Table=", "Endpoint = ",
     "FwMark=", "PersistentKeepalive = ", "PresharedKey=", "PostUp = ", "SaveConfig = true", "# Name = ", "#Name#",
     "### Client ", "10.8.0.2/32", "fd00::/64", "[::1]:1", "1", "65536", "-1", "true", SECRET, PSK, *KEYS[:2]]
)  # fmt: skip


@settings(max_examples=600, deadline=None)
@given(st.lists(_WORDS | st.text(max_size=6)).map("".join), st.booleans())
@example("[Interface]\n" + "[" * 5000, False)
@example("#" * 20000, True)
@example("[Interface]\nDNS=" + ", " * 20000, True)
@example("[Interface]\n# Name" + " " * 20000 + "\n[Peer]", True)
def test_no_text_makes_it_fail_otherwise(text: str, drop: bool) -> None:
    found = outcome(text, drop_hooks=drop)
    if isinstance(found, WgFile):
        assert drop or not found.refused


# -- the programs as judges


_ORACLE = """
export WG_ENDPOINT_RESOLUTION_RETRIES=0
for file in "$1"/*.conf; do
  wg-quick strip "$file" > "$file.stripped" 2> "$file.error" &&
  wg setconf "$2" "$file.stripped" 2>> "$file.error" && wg show "$2" dump > "$file.dump"
done; true
"""


@pytest.fixture
def device() -> Iterator[tuple[Namespace, str]]:
    with new_namespace() as space:
        name = space.link_name()
        run("ip", "netns", "exec", space.name, "wireguard-go", name)
        yield space, name


def _mutated(rng: random.Random, text: str) -> str:
    lines = text.split("\n")
    for _ in range(rng.choice((1, 1, 1, 2))):
        at = rng.randrange(len(lines))
        line = lines[at]
        spot = rng.randint(0, len(line))
        odd = "#=,[]/:. \t0aé\x0b\x0c\u2028"
        lines[at] = rng.choice(
            [
                line.upper(), line.lower(), line.replace(" = ", "="), line.replace(" ", "\t"), line + " # x",
                line + "\r", "#" + line, "", line[:spot], line[:spot] + rng.choice(odd) + line[spot:],
                line.replace(", ", f"\n{line.partition('=')[0]}= "), line.replace(", ", ","), line.replace("/", " /"),
                "PersistentKeepalive = off", "FwMark = 0x10", "FwMark = 010", "ListenPort = 00047", "Table = off",
                f"PresharedKey = {PSK}", "AllowedIPs = 10.0.0.1", "AllowedIPs =", "Endpoint = 192.0.2.1:80",
                "Endpoint = [2001:db8::1]:1", "[peer]", "[Interface]", "MTU = 1400", "Address = 10.9.9.9",
                "PostUp = id",
            ]
        )  # fmt: skip
    return "\n".join(lines)


def _clamped(key: SecretKey) -> str:
    """As devices give a private key back; lower case made of one is a key too, and not a clamped one."""
    raw = bytearray(key)
    raw[0] &= 0xF8
    raw[31] = raw[31] & 0x7F | 0x40
    return SecretKey(bytes(raw)).reveal()


def _as_dumped(file: WgFile) -> tuple[object, ...]:
    key = _clamped(file.private_key) if file.private_key else "(none)"
    return key, f"0x{file.fwmark:x}" if file.fwmark else "off", {
        str(peer.spec.public_key): (
            peer.spec.preshared_key.reveal() if peer.spec.preshared_key else "(none)",
            str(peer.spec.endpoint) if peer.spec.endpoint else "(none)",
            frozenset(peer.spec.allowed_ips),
            str(peer.spec.keepalive) if peer.spec.keepalive else "off",
        )
        for peer in file.peers
    }  # fmt: skip


def _dumped(path: Path) -> tuple[object, ...]:
    device, *peers = (line.split("\t") for line in path.read_text().splitlines())
    return device[0], device[3], {
        peer[0]: (peer[1], peer[2], frozenset(set(peer[3].split(",")) - {"(none)"}), peer[7]) for peer in peers
    }  # fmt: skip


def test_what_we_accept_the_programs_accept_and_read_alike(device: tuple[Namespace, str], tmp_path: Path) -> None:
    rng = random.Random(8)
    tmp_path.chmod(0o700)
    files: dict[str, WgFile | None] = {}
    for number, config in enumerate(configs.generate(400, seed=77)):
        text = clientconf.render(config)
        if config.endpoint and config.endpoint.host in configs.HOSTS:
            text = text.replace(config.endpoint.host, "192.0.2.9")  # names are the resolver's business
        text = _mutated(rng, text)
        (tmp_path / f"m{number}.conf").write_text(text, newline="")
        found = outcome(text)
        files[f"m{number}"] = found if isinstance(found, WgFile) else None
    space, name = device
    argv = ["ip", "netns", "exec", space.name, "bash", "-c", _ORACLE, "oracle", str(tmp_path), name]
    subprocess.run(argv, check=True, timeout=120)
    verdicts: Counter[str] = Counter()
    for stem, file in files.items():
        dump = tmp_path / f"{stem}.conf.dump"
        verdicts[f"{'accepted' if file else 'refused'} here, {'accepted' if dump.exists() else 'refused'} there"] += 1
        if file:
            assert dump.exists(), (tmp_path / f"{stem}.conf").read_text() + (
                tmp_path / f"{stem}.conf.error"
            ).read_text()
            assert _as_dumped(file) == _dumped(dump), (tmp_path / f"{stem}.conf").read_text()
    print(dict(verdicts))
    assert verdicts["accepted here, accepted there"] > 140
    assert verdicts["refused here, refused there"] > 140
    assert verdicts["accepted here, refused there"] == 0
