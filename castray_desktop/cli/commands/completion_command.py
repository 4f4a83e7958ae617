"""`castray completion`: print the script that makes a shell complete the commands."""

from __future__ import annotations

import argparse

from castray_desktop.cli.arguments import EXIT_DELIVERED, Commands, add_command
from castray_desktop.cli.output.terminal import print_json


def add_parsers(commands: Commands) -> None:
    """Add `completion`."""
    parser = add_command(
        commands,
        "completion",
        "print a shell completion script",
        """
        castray completion bash > ~/.local/share/bash-completion/completions/castray
        castray completion zsh > ~/.zfunc/_castray        # in a folder of $fpath
        castray completion fish > ~/.config/fish/completions/castray.fish
        """,
        handler=print_script,
    )
    parser.add_argument("shell", choices=("bash", "zsh", "fish"))


async def print_script(options: argparse.Namespace) -> int:
    """Print the script of a shell, which calls `shell_completion.complete`."""
    from argcomplete import shell_integration

    script = shell_integration.shellcode(["castray"], shell=options.shell)
    if options.json:
        print_json({"shell": options.shell, "script": script})
    else:
        print(script)
    return EXIT_DELIVERED
