"""Variables that say where agents listen: one parser each, for agents, engine and `castray doctor`.

An agent gets the ports with its placement, and the networks with its environment.
"""

from __future__ import annotations

import ipaddress
from typing import Any, Optional

PORTS_VARIABLE = "CASTRAY_DATA_PORTS"
"""The range of ports, LOW-HIGH, or one port."""

NETWORK_VARIABLE = "CASTRAY_DATA_NETWORK"
"""A network in CIDR notation, or several separated by commas, in order of preference."""

MAX_PORT = 65535


def parse_ports(text: str) -> Optional[tuple[int, int]]:
    """The first and the last port; None for any free port, which an empty text and 0 stand for.

    Raises ValueError, whose text is the name of the variable, a colon and the reason.
    """
    if not text.strip():
        return None
    first, _, last = text.partition("-")
    try:
        low, high = int(first), int(last.strip() or first)
    except ValueError as error:
        raise ValueError(f"{PORTS_VARIABLE}: the format is LOW-HIGH, or one port") from error
    if low == high == 0:
        return None
    if not 1 <= low <= high <= MAX_PORT:
        raise ValueError(f"{PORTS_VARIABLE}: ports go from 1 to {MAX_PORT}, and LOW can't exceed HIGH")
    return low, high


def parse_networks(text: str) -> list[Any]:
    """The networks, in order. Raises ValueError as `parse_ports` does."""
    try:
        return [ipaddress.ip_network(part.strip(), strict=False) for part in text.split(",") if part.strip()]
    except ValueError as error:
        raise ValueError(f"{NETWORK_VARIABLE}: {error}") from error
