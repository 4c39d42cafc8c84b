"""``python -m tests.screenshots``: pictures of the TUI on a real hub with real clients, into docs/screenshots.

A lab is made, six clients shake hands and send traffic, one peer is disabled; the program signs in and paints. Run by
hand when the screens have changed.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import tempfile
import time
from contextlib import closing
from pathlib import Path

from nexushub import boot, config, lab, postgres
from nexushub.work import Hub
from tests.tui.conftest import settled
from tui.app import NexusApp

SCREENSHOTS = Path(__file__).resolve().parents[1] / "docs/screenshots"
SIZE = (100, 22)


def main() -> None:
    directory = Path(tempfile.mkdtemp(prefix="nxt-", dir="/tmp"))
    directory.chmod(0o711)
    settings = config.load(
        {}, file=Path("/dev/null"), state_dir=str(directory / "state"), run_dir=str(directory / "run")
    )
    record = lab.start(settings, clients=6)
    try:
        pings = [
            subprocess.Popen(
                [
                    "ip",
                    "netns",
                    "exec",
                    site.namespace,
                    "ping",
                    "-q",
                    "-i",
                    "0.05",
                    "-s",
                    str(200 * site.number),
                    "10.66.0.1",
                ],
                stdout=subprocess.DEVNULL,
            )
            for site in record.topology.sites[:4]
        ]
        time.sleep(20)
        inside = lab.lab_settings(settings)
        started = boot.prepare(inside)
        with closing(boot.open_hub(started)) as hub:
            asyncio.run(paint(inside, hub))
        assert started.cluster is not None
        postgres.stop(started.cluster)
        for ping in pings:
            ping.terminate()
            ping.wait()
    finally:
        lab.stop(settings)
        shutil.rmtree(directory)


async def paint(settings: config.Settings, hub: Hub) -> None:
    """Sign in and take each screen."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    password = (settings.state_dir / "password").read_text().strip()
    app = NexusApp(settings, embed=False, hub=hub)
    async with app.run_test(size=SIZE) as pilot:
        await settled(pilot)
        await app.link.sign_in(lab.ADMIN, password)
        await app.enter()
        await settled(pilot)
        for name, presses in {"interfaces": ["2"], "peers": ["1"], "peer": ["down", "enter"]}.items():
            await pilot.press(*presses)
            await settled(pilot)
            await asyncio.sleep(2.5)  # the next refresh: rates need two samples
            await settled(pilot)
            (SCREENSHOTS / f"{name}.svg").write_text(without_fonts(app.export_screenshot(title="NexusHub")))


def without_fonts(svg: str) -> str:
    """A picture asks no other server for anything: the viewer's own monospaced font does."""
    return re.sub(r"\s*@font-face \{[^}]*\}", "", svg).replace("Fira Code", "monospace")


if __name__ == "__main__":
    main()
