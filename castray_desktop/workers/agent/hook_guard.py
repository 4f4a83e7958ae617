"""End a hook whose agent has gone, for whatever reason.

Run as a script by the agent, which writes the id of the hook's process group, and another line once the
hook has ended. The kernel closes the pipe when the agent has ended. Standard library only, to stay small.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time

GRACE_SECONDS = 2.0
LOOK_SECONDS = 0.05


def main() -> None:
    """Wait until the hook or the agent ends; then end the hook's whole process group."""
    group = sys.stdin.readline()
    if group and not sys.stdin.readline():
        end_group(int(group))
        with contextlib.suppress(OSError):
            os.unlink(sys.argv[1])


def end_group(group: int) -> None:
    """End a process group: SIGTERM, then SIGKILL."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + GRACE_SECONDS
        try:
            os.killpg(group, number)
            while time.monotonic() < deadline:
                time.sleep(LOOK_SECONDS)
                os.killpg(group, 0)
        except (ProcessLookupError, PermissionError):  # it has ended; macOS says the latter of what is dead
            return


if __name__ == "__main__":
    main()
