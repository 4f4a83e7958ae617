"""Checks of this computer: versions, display, fonts, kernel limits."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import os
import platform
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import castray_desktop
from castray_desktop.core.failures.kinds import Failure
from castray_desktop.core.protocol.messages import Check, CheckState
from castray_desktop.core.protocol.nodes.data_variables import (
    NETWORK_VARIABLE,
    PORTS_VARIABLE,
    parse_networks,
    parse_ports,
)
from castray_desktop.workers.agent import network_addresses
from castray_desktop.workers.base.async_tasks import run_program
from castray_desktop.workers.base.installation import (
    CHINESE_FONT,
    LIBRARIES,
    extra_command,
    install_command,
    lacks_extra,
    missing_libraries,
)
from castray_desktop.workers.clusters.driver_environments import own_versions

PROGRAM_SECONDS = 20.0
MIN_WATCHES = 8192

_QT = """
import json, sys
from PySide6 import QtCore
if sys.argv[1] == "show":
    from PySide6.QtWidgets import QApplication
    application = QApplication([])
else:
    from PySide6 import QtGui, QtSvg, QtWidgets
print(json.dumps(QtCore.qVersion()))
"""


def failed_check(kind: str, failure: Failure, node: str = "") -> Check:
    """A check that has failed for this reason."""
    return Check(kind, CheckState.BAD, node, failure.values | {"because": failure.kind.value})


def castray_check() -> Check:
    """The check of the installed version."""
    own = own_versions()
    return Check(
        "castray",
        CheckState.GOOD,
        values={
            "version": castray_desktop.__version__,
            "ray": own.ray or "–",
            "python": own.python,
            "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        },
    )


def display_check(environment: Mapping[str, str] = os.environ) -> Check:
    """Check whether a display is available."""
    for name in ("WAYLAND_DISPLAY", "DISPLAY", "QT_QPA_PLATFORM"):
        if environment.get(name):
            return Check("display", CheckState.GOOD, values={"display": environment[name]})
    if sys.platform == "darwin":
        return Check("display", CheckState.GOOD, values={"display": "macOS"})
    return Check("display", CheckState.NOTICE)


async def qt_check(environment: Mapping[str, str] = os.environ) -> Check:
    """Check that Qt's libraries can be loaded, and that a window can be created if there is a display.

    Runs in a separate process, since Qt aborts the process if it can't start.
    """
    if lacks_extra("window"):
        return Check("qt", CheckState.NOTICE, values={"command": extra_command("window")})
    shown = display_check(environment).state is CheckState.GOOD
    command = [sys.executable, "-c", _QT, "show" if shown else "load"]
    status, output = await run_program(command, PROGRAM_SECONDS, {**environment, "PYTHONPATH": ""})
    last = output.strip().splitlines()[-1] if output.strip() else f"status {status}"
    if status == 0:
        return Check("qt", CheckState.GOOD, values={"version": str(json.loads(last))})
    telling = [line for line in output.splitlines() if "Error" in line or "could not" in line.lower()]
    install = install_command(await asyncio.to_thread(missing_libraries) or LIBRARIES)
    values = {"reason": (telling or [last])[-1].strip(), "command": install}
    return Check("qt", CheckState.BAD, values=values)


async def fonts_check() -> Check:
    """Check for fonts with Chinese characters; without fontconfig none is found."""
    names: list[str] = []
    if shutil.which("fc-list") is not None:
        _, output = await run_program(["fc-list", ":lang=zh", "family"], PROGRAM_SECONDS)
        names = sorted(line.split(",")[0].strip() for line in output.splitlines() if line.strip())
    if not names:
        return Check("fonts", CheckState.NOTICE, values={"command": install_command([CHINESE_FONT])})
    return Check("fonts", CheckState.GOOD, values={"font": names[0]})


async def window_checks() -> list[Check]:
    """Checks of what the window needs."""
    qt, fonts = await asyncio.gather(qt_check(), fonts_check())
    return [display_check(), qt, fonts]


def inotify_check(place: Path = Path("/proc/sys/fs/inotify")) -> Check | None:
    """Check the limit of watched folders; None if the kernel has no such limit."""
    try:
        watches = int((place / "max_user_watches").read_text())
    except (OSError, ValueError):
        return None
    state = CheckState.GOOD if watches >= MIN_WATCHES else CheckState.NOTICE
    return Check("inotify", state, values={"watches": f"{watches:,}"})


def data_ports_check(environment: Mapping[str, str] = os.environ) -> Check:
    """Check the configured ports and networks."""
    networks = environment.get(NETWORK_VARIABLE, "")
    try:
        ports, parsed = parse_ports(environment.get(PORTS_VARIABLE, "")), parse_networks(networks)
    except ValueError as error:
        variable, _, reason = str(error).partition(": ")
        values = {"variable": variable, "value": environment[variable], "reason": reason}
        return Check("data_ports", CheckState.BAD, values=values)
    values = {
        "ports": "any free port" if ports is None else "ports {} to {}".format(*ports),
        "network": networks or "every address",
    }
    own = map(network_addresses.without_scope, network_addresses.own_addresses())
    inside = not parsed or any(ipaddress.ip_address(address) in net for address in own for net in parsed)
    return Check("data_ports", CheckState.GOOD if inside else CheckState.NOTICE, values=values)
