"""A thousand files through the programs that clients run: wg-quick, wg, and a QR decoder."""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from PIL import Image, ImageDraw

from nexushub import clientconf, qr, wgquick
from nexushub.clientconf import ClientConfig
from nexushub.kernel.values import InterfaceAddress
from tests import configs
from tests.fix_kernel import Namespace, new_namespace, run

COUNT = 1000
COMPACT = range(0, COUNT, 10)
"""Which of them are also looked at in the compact spelling."""

_ZBAR = "{http://zbar.sourceforge.net/2008/barcode}"

# One process for all files: wg-quick alone takes 10 ms each. The result of each command is checked by its file.
_ORACLE = """
export WG_ENDPOINT_RESOLUTION_RETRIES=0
for file in "$1"/*.conf; do
  wg-quick strip "$file" > "$file.stripped" || echo "strip $file"
  wg setconf "$2" "$file.stripped" || echo "setconf $file"
  wg show "$2" dump > "$file.dump"
done 2>&1
"""


@pytest.fixture(scope="module")
def generated() -> list[ClientConfig]:
    return configs.generate(COUNT)


@pytest.fixture(scope="module")
def device() -> Iterator[tuple[Namespace, str]]:
    """A wireguard-go in a namespace of its own, where the hosts of the generated endpoints have addresses."""
    with new_namespace() as space:
        etc = Path("/etc/netns") / space.name
        new = not etc.parent.exists()
        etc.mkdir(parents=True)
        try:
            (etc / "hosts").write_text("".join(f"192.0.2.99 {host}\n" for host in configs.HOSTS))
            name = space.link_name()
            run("ip", "netns", "exec", space.name, "wireguard-go", name)
            yield space, name
        finally:
            (etc / "hosts").unlink()
            etc.rmdir()
            if new:
                with contextlib.suppress(OSError):  # another run's may be in it by now
                    etc.parent.rmdir()


@pytest.fixture(scope="module", autouse=True)
def oracle(
    generated: list[ClientConfig], device: tuple[Namespace, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    """The programs at work on all files, on the second core while this one draws codes."""
    directory = tmp_path_factory.mktemp("files")
    directory.chmod(0o700)
    texts = {f"f{number}": clientconf.render(config) for number, config in enumerate(generated)}
    texts |= {f"c{number}": clientconf.compact(generated[number]) for number in COMPACT}
    for name, text in texts.items():
        path = directory / f"{name}.conf"
        path.touch(0o600)
        path.write_text(text)
    space, name = device
    argv = ["ip", "netns", "exec", space.name, "bash", "-c", _ORACLE, "oracle", str(directory), name]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        yield directory, process
        process.kill()


def from_dump(path: Path) -> tuple[object, ...]:
    """What wg understood: private key, public key, PSK, endpoint, allowed IPs, keepalive."""
    device, peer = (line.split("\t") for line in path.read_text().splitlines())
    return (device[0], *peer[:3], frozenset(peer[3].split(",")), peer[7])


def expected(config: ClientConfig) -> tuple[object, ...]:
    endpoint = str(config.endpoint) if config.endpoint else "(none)"
    for host in configs.HOSTS:
        endpoint = endpoint.replace(host, "192.0.2.99")
    assert config.private_key is not None
    return (
        config.private_key.reveal(),
        str(config.public_key),
        config.preshared_key.reveal() if config.preshared_key else "(none)",
        endpoint,
        frozenset(config.allowed_ips),
        str(config.keepalive) if config.keepalive else "off",
    )


def parsed_back(text: str) -> ClientConfig:
    file = wgquick.parse(text)
    (peer,) = file.peers
    return ClientConfig(
        addresses=file.addresses,
        public_key=peer.spec.public_key,
        allowed_ips=peer.spec.allowed_ips,
        private_key=file.private_key,
        dns=file.dns,
        mtu=file.mtu,
        preshared_key=peer.spec.preshared_key,
        endpoint=peer.spec.endpoint,
        keepalive=peer.spec.keepalive,
    )


def meaning(config: ClientConfig, *, mtu: int | None) -> tuple[object, ...]:
    return (
        config.addresses, config.public_key, set(config.allowed_ips), config.private_key, config.dns, mtu,
        config.preshared_key, config.endpoint, config.keepalive,
    )  # fmt: skip


def decoded(paths: list[Path]) -> list[str]:
    """What zbar reads in each image; one process for all."""
    argv = ["zbarimg", "--xml", "--quiet", "-Sdisable", "-Sqrcode.enable", *map(str, paths)]
    done = subprocess.run(argv, capture_output=True, timeout=300, check=False)
    assert done.returncode in (0, 4), done.stderr.decode()  # 4: some image had no code; compared below
    found: dict[str, str] = {}
    for source in ET.fromstring(done.stdout).iter(f"{_ZBAR}source"):  # noqa: S314 - written by zbarimg
        for data in source.iter(f"{_ZBAR}data"):
            found[source.attrib["href"]] = data.text or ""
    return [found.get(str(path), "") for path in paths]


def test_the_generated_configs_have_everything(generated: list[ClientConfig]) -> None:
    have = Counter(
        key
        for config in generated
        for key, present in {
            "v4 only": not any(":" in address for address in config.addresses),
            "v6 only": all(":" in address for address in config.addresses),
            "PSK": config.preshared_key,
            "no PSK": config.preshared_key is None,
            "DNS": config.dns,
            "MTU": config.mtu,
            "MTU 1420": config.mtu == 1420,
            "long allowed IPs": len(config.allowed_ips) >= 60,
            "full tunnel": "0.0.0.0/0" in config.allowed_ips,
            "keepalive": config.keepalive,
            "v6 endpoint": config.endpoint and ":" in config.endpoint.host,
            "host name": config.endpoint and config.endpoint.host in configs.HOSTS,
            "no endpoint": config.endpoint is None,
        }.items()
        if present
    )
    print(dict(have))
    assert len(have) == 13
    assert min(have.values()) >= 10


def test_our_reader_reads_what_was_meant(generated: list[ClientConfig]) -> None:
    for config in generated:
        assert meaning(parsed_back(text := clientconf.render(config)), mtu=config.mtu) == meaning(
            config, mtu=config.mtu
        )
        assert clientconf.render(parsed_back(text)).splitlines()[:2] == text.splitlines()[:2]
        short = clientconf.compact(config)
        assert len(short) < len(text)
        mtu = None if config.mtu == clientconf.DEFAULT_MTU else config.mtu
        assert meaning(parsed_back(short), mtu=mtu) == meaning(config, mtu=mtu)


@pytest.mark.slow
def test_every_code_decodes_to_its_text(generated: list[ClientConfig], tmp_path: Path) -> None:
    texts = [clientconf.render(config) for config in generated]
    texts += [clientconf.compact(generated[number]) for number in COMPACT]
    paths = []
    for number, text in enumerate(texts):
        paths.append(tmp_path / f"{number}.png")
        paths[-1].write_bytes(qr.to_png(text, scale=3))
    wrong = [number for number, read in enumerate(decoded(paths)) if read != texts[number]]
    assert wrong == []
    print(f"{len(texts)} PNG codes: zbar reads each as its text")


def test_what_a_terminal_shows_decodes(generated: list[ClientConfig], tmp_path: Path) -> None:
    texts = [clientconf.compact(config) for config in generated[5::10]]
    paths, wanted = [], []
    for number, text in enumerate(texts):
        for quiet in (qr.QUIET, qr.LEAST_QUIET):
            paths.append(tmp_path / f"{number}-{quiet}.png")
            painted(qr.to_ansi(text, quiet)).save(paths[-1])
            wanted.append(text)
    assert decoded(paths) == wanted
    print(f"{len(paths)} terminal pictures, quiet zones 4 and 2: zbar reads each as its text")


def test_wg_quick_and_wg_read_what_was_meant(
    generated: list[ClientConfig], oracle: tuple[Path, subprocess.Popen[str]]
) -> None:
    directory, process = oracle
    words, _ = process.communicate(timeout=300)
    assert words == ""
    assert process.returncode == 0
    checked = [(f"f{number}", config) for number, config in enumerate(generated)]
    checked += [(f"c{number}", generated[number]) for number in COMPACT]
    for name, config in checked:
        assert from_dump(directory / f"{name}.conf.dump") == expected(config), name
    print(f"{COUNT} files and {len(COMPACT)} compact ones: wg-quick strip and wg setconf accept all, as meant")


def test_svg_decodes(generated: list[ClientConfig], tmp_path: Path) -> None:
    texts = [clientconf.render(config) for config in generated[:25]]
    paths = [tmp_path / f"{number}.png" for number in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        from_svg(qr.to_svg(text)).save(path)
    assert decoded(paths) == texts


def painted(ansi: str) -> Image.Image:
    """The picture that a terminal of 5 by 10 pixels a cell makes of this, in the 256-colour palette's colours."""
    palette = {"16": 0, "231": 255}
    lines = ansi.removesuffix("\n").split("\n")
    cells = [re.fullmatch(r"\x1b\[38;5;(\d+);48;5;(\d+)m([ ▀▄█]*)\x1b\[0m", line) for line in lines]
    widths = {len(cell[3]) for cell in cells if cell}
    assert all(cells)
    assert len(widths) == 1
    width = widths.pop()
    # A dark theme around it: the quiet zone has to come with the code.
    image = Image.new("L", (width * 5 + 40, len(lines) * 10 + 40), 20)
    draw = ImageDraw.Draw(image)
    for y, cell in enumerate(cells):
        assert cell
        ink, paper = palette[cell[1]], palette[cell[2]]
        for x, shape in enumerate(cell[3]):
            for half, dark in enumerate((shape in "▀█", shape in "▄█")):
                left, top = 20 + x * 5, 20 + y * 10 + half * 5
                draw.rectangle((left, top, left + 4, top + 4), ink if dark else paper)
    return image


def from_svg(svg: str) -> Image.Image:
    """Draw the two paths that our SVG consists of: white paper, then runs of dark modules."""
    root = ET.fromstring(svg)  # noqa: S314 - written by us
    side = int(root.attrib["viewBox"].split()[2])
    paper, code = root
    assert paper.attrib == {"fill": "#fff", "d": f"M0 0h{side}v{side}H0z"}
    image = Image.new("L", (side * 3, side * 3), 255)
    draw = ImageDraw.Draw(image)
    runs = re.findall(r"M(\d+) (\d+)h(\d+)v1h-\3z", code.attrib["d"])
    assert "".join(f"M{x} {y}h{n}v1h-{n}z" for x, y, n in runs) == code.attrib["d"]
    for x, y, length in (map(int, numbers) for numbers in runs):
        draw.rectangle((x * 3, y * 3, (x + length) * 3 - 1, y * 3 + 2), 0)
    return image


def test_a_file_without_a_private_key_says_so_and_fails(device: tuple[Namespace, str], tmp_path: Path) -> None:
    space, name = device
    config = ClientConfig(
        addresses=(InterfaceAddress("10.8.0.2/32"),),
        public_key=configs.generate(1)[0].public_key,
        allowed_ips=configs.generate(1)[0].allowed_ips,
    )
    text = clientconf.render(config)
    assert "# The hub does not have your private key" in text
    path = tmp_path / "x.conf"
    path.write_text(text)
    stripped = tmp_path / "stripped"
    stripped.write_text(run("wg-quick", "strip", str(path)))
    argv = ["ip", "netns", "exec", space.name, "wg", "setconf", name, str(stripped)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "Key is not the correct length or format: `<insert-your-private-key>'" in done.stderr
