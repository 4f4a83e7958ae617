"""`python -m castray_desktop` and the console script `castray`: the window, or a command."""

from __future__ import annotations

import sys


def main() -> int:
    """Run what the command line asks for; returns the exit status."""
    from castray_desktop.cli import entry

    return entry.main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
