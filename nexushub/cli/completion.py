"""``nexushub completion``."""

from __future__ import annotations

import click

from nexushub.cli import output
from nexushub.cli.options import command


@command(json=False, remote=False)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script for a shell.

    bash: nexushub completion bash > /etc/bash_completion.d/nexushub
    """
    from click.shell_completion import get_completion_class

    from nexushub.cli.app import make_root

    made = get_completion_class(shell)
    assert made is not None, "click has the three"
    # format_vars is what source() fills in; source() itself starts a bash to ask for its version.
    complete = made(make_root(), {}, "nexushub", "_NEXUSHUB_COMPLETE")
    output.write(complete.source_template % complete.source_vars() + "\n")
