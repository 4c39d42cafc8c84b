"""A client's file, word for word, and its name."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nexushub import clientconf
from nexushub.clientconf import ClientConfig
from nexushub.kernel.values import Cidr, Endpoint, InterfaceAddress, Key, SecretKey
from tests import configs, hostile

CONFIG = ClientConfig(
    addresses=(InterfaceAddress("10.8.0.2/32"), InterfaceAddress("fd00:8::2/128")),
    public_key=Key(bytes(range(32))),
    allowed_ips=(Cidr("10.8.0.0/24"), Cidr("10.9.9.9/32"), Cidr("fd00:8::/64")),
    private_key=SecretKey(b"\xfb" * 32),
    dns=("10.8.0.1", "corp.example"),
    mtu=1420,
    preshared_key=SecretKey(b"\xff" * 32),
    endpoint=Endpoint("2001:db8::1", 51820),
    keepalive=25,
    name="alice\nPostUp = id",
)

FILE = """\
[Interface]
PrivateKey = +/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/s=
Address = 10.8.0.2/32, fd00:8::2/128
DNS = 10.8.0.1, corp.example
MTU = 1420

[Peer]
PublicKey = AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=
PresharedKey = //////////////////////////////////////////8=
AllowedIPs = 10.8.0.0/24, 10.9.9.9/32, fd00:8::/64
Endpoint = [2001:db8::1]:51820
PersistentKeepalive = 25
"""

COMPACT = """\
[Interface]
PrivateKey=+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/s=
Address=10.8.0.2,fd00:8::2
DNS=10.8.0.1,corp.example
[Peer]
PublicKey=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=
PresharedKey=//////////////////////////////////////////8=
AllowedIPs=10.8.0.0/24,10.9.9.9,fd00:8::/64
Endpoint=[2001:db8::1]:51820
PersistentKeepalive=25"""


def test_the_file() -> None:
    assert clientconf.render(CONFIG) == FILE


def test_the_compact_spelling() -> None:
    assert clientconf.compact(CONFIG) == COMPACT


def test_what_is_not_set_is_not_written() -> None:
    config = dataclasses.replace(CONFIG, dns=(), mtu=None, preshared_key=None, endpoint=None, keepalive=0)
    keys = re.findall(r"^(\w+) =", clientconf.render(config), re.MULTILINE)
    assert keys == ["PrivateKey", "Address", "PublicKey", "AllowedIPs"]


def test_another_mtu_stays_in_the_compact_spelling() -> None:
    assert "\nMTU=1280\n" in clientconf.compact(dataclasses.replace(CONFIG, mtu=1280))


def test_without_a_private_key_both_spellings_have_the_placeholder() -> None:
    config = dataclasses.replace(CONFIG, private_key=None)
    assert clientconf.render(config).startswith(
        "[Interface]\n# The hub does not have your private key: put it in place of the next line's value.\n"
        "PrivateKey = <insert-your-private-key>\n"
    )
    assert "PrivateKey=<insert-your-private-key>" in clientconf.compact(config)


def test_a_printed_config_shows_no_secret() -> None:
    assert "v7+/" not in repr(CONFIG)
    assert "////" not in repr(CONFIG)


BAD_VALUES = [*hostile.PAYLOADS, *hostile.DIRECTIVES[:17], "10.8.0.2/32 # x", "10.8.0.2/32;id", "$(id)", "", "é"]


@pytest.mark.parametrize("text", BAD_VALUES, ids=ascii)
def test_a_value_that_got_past_its_type_is_not_written(text: str) -> None:
    for change in (
        {"addresses": (text,)},
        {"allowed_ips": (text,)},
        {"dns": ("10.8.0.1", f"{text}\x00")},
        {"public_key": text},
        {"endpoint": Endpoint(f"{text}\n", 1)},
    ):
        config = dataclasses.replace(CONFIG, **change)
        for write in (clientconf.render, clientconf.compact):
            with pytest.raises(ValueError, match="has a character that does not belong") as refused:
                write(config)
            assert str(refused.value).isprintable()


@pytest.mark.parametrize("change", [{"mtu": "1420\nPostUp = id"}, {"keepalive": "25\nPostUp = id"}])
def test_numbers_are_numbers(change: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        clientconf.render(dataclasses.replace(CONFIG, **change))  # type: ignore[arg-type]  # the wrong type is the point


@pytest.mark.parametrize("name", [*hostile.REFUSED_NAMES, *hostile.PAYLOADS, *hostile.ODD_BUT_FINE], ids=ascii)
def test_no_name_gets_into_the_file(name: str) -> None:
    config = dataclasses.replace(CONFIG, name=name)
    assert clientconf.render(config) == FILE
    assert clientconf.compact(config) == COMPACT


# -- the file's name

WG_QUICK_TAKES = re.compile(r"(^|/)([a-zA-Z0-9_=+.-]{1,15})\.conf")
"""The pattern in wg-quick's own source."""


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("alice-laptop", "alice-laptop"),
        ("a", "a"),
        ("x" * 15, "x" * 15),
        ("a.b", "a.b"),
        ("alice laptop", "alice-lapt-????"),
        ("Überflieger", "Uberfliege-????"),
        ("山田", "peer-????"),
        ("../../etc/passwd", "etc-passwd-????"),
        ("con", "con-????"),
        ("CON.txt", "CON-txt-????"),
        ("lo", "lo-????"),
        ("-rf", "rf-????"),
        (".hidden", "hidden-????"),
        ("dot.", "dot-????"),
        ("", "peer-????"),
    ],
)
def test_file_names(name: str, base: str) -> None:
    digits = hashlib.sha256(name.encode()).hexdigest()[:4]
    assert clientconf.file_name(name) == f"{base.replace('????', digits)}.conf"


@pytest.mark.parametrize("name", [*hostile.REFUSED_NAMES, *hostile.PAYLOADS, *hostile.ODD_BUT_FINE], ids=ascii)
def test_any_name_makes_a_file_name(name: str, tmp_path: Path) -> None:
    made = clientconf.file_name(name)
    assert WG_QUICK_TAKES.fullmatch(made)
    assert made[0] not in "-."
    assert made.partition(".")[0].lower() not in {"con", "nul", "aux", "prn", "lo", "all", "default", "com1", "lpt9"}
    (tmp_path / made).touch()
    assert [path.name for path in tmp_path.iterdir()] == [made]


def test_names_that_differ_only_in_what_is_lost_get_two_files() -> None:
    names = [
        "alice laptop",
        "alice-laptop",
        "alice_laptop",
        "alice  laptop",
        "alice/laptop",
        "x" * 15,
        "x" * 16,
        "x" * 17,
    ]
    assert len({clientconf.file_name(name) for name in names}) == len(names)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=40) | st.from_regex(r"[a-zA-Z0-9_=+.-]{1,20}", fullmatch=True))
def test_any_text_makes_a_file_name(name: str) -> None:
    assert WG_QUICK_TAKES.fullmatch(clientconf.file_name(name))


def test_a_hundred_configs_are_shorter_when_compact() -> None:
    full, short = 0, 0
    for config in configs.generate(100, seed=4):
        full += len(clientconf.render(config))
        short += len(clientconf.compact(config))
    print(f"100 configs: {full} characters, compact {short}")
    assert short < 0.93 * full
