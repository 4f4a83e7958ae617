"""The address at which a node serves files: Ray's, or one in a network that the user has named.

The addresses of a machine come from getifaddrs(3), in network namespaces as well.
"""

from __future__ import annotations

import ctypes
import ipaddress
import logging
import socket
import sys
from collections.abc import Iterable
from typing import Any

from castray_desktop.core.protocol.nodes.data_variables import NETWORK_VARIABLE, parse_networks

DOCUMENTATION_ADDRESS = "192.0.2.1"
"""An address reserved for documentation: its route is the default route."""

log = logging.getLogger("castray.agent")


def data_address(ray_address: str, networks: str, own: Iterable[str]) -> str:
    """The first of a machine's `own` addresses that lies in `networks`; Ray's address of the node if none
    does.

    A link-local address keeps its scope ("fe80::1%eth0"). Raises ValueError for an invalid network.
    """
    candidates = list(own)
    for network in parse_networks(networks):
        for address in candidates:
            if ipaddress.ip_address(without_scope(address)) in network:
                return address
    if networks.strip():
        log.warning("no address of this node is in %s=%s; using %s", NETWORK_VARIABLE, networks, ray_address)
    return without_brackets(ray_address)


def address_for_others(networks: str) -> str:
    """The address at which other machines reach this one; empty if it has only a loopback address.

    An address in `networks` is preferred, then that of the default route, then the first one. Raises
    ValueError for an invalid network.
    """
    own = [address for address in own_addresses() if not _is_machine_local(address)]
    first = address_towards(DOCUMENTATION_ADDRESS) or (own[0] if own else "")
    return data_address(first, networks, own) if own else ""


def is_any_local(hosts: Iterable[str]) -> bool:
    """Whether one of these addresses belongs to this machine or is a loopback; True if the own addresses are
    unknown."""
    own = {without_scope(address) for address in own_addresses()}
    given = [without_scope(without_brackets(host)) for host in hosts]
    return not own or any(host in own or _is_loopback(host) for host in given)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a host name
        return False


def is_port_free(address: str, port: int) -> bool:
    """Whether the port can be bound."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        try:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address, port))
        except OSError:
            return False
    return True


def _is_machine_local(address: str) -> bool:
    parsed = ipaddress.ip_address(without_scope(address))
    return bool(parsed.is_loopback or parsed.is_link_local)


def address_towards(host: str) -> str:
    """The local address used for packets to a host; empty if that is a loopback or there is no route.

    Nothing is sent.
    """
    try:
        family, _, _, _, where = socket.getaddrinfo(host, 9, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(where)
            address = str(probe.getsockname()[0])
    except OSError:
        return ""
    return "" if _is_machine_local(address) else address


def without_brackets(address: str) -> str:
    """An IPv6 address without the brackets that it has in front of a port."""
    return address[1:-1] if address.startswith("[") and address.endswith("]") else address


def host_port(address: str, port: int) -> str:
    """Both in one word; an IPv6 address gets its brackets."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def without_scope(address: str) -> str:
    """An address without its interface scope, which has no meaning on other machines."""
    return address.partition("%")[0]


def with_own_scope(address: str, own: str) -> str:
    """Add the interface scope of our `own` address to a link-local `address` of another machine."""
    scope = own.partition("%")[2]
    if not scope or "%" in address or ":" not in address:
        return address
    return f"{address}%{scope}" if ipaddress.ip_address(address).is_link_local else address


class _Interface(ctypes.Structure):
    """struct ifaddrs, the part that is the same on Linux and macOS."""


_Interface._fields_ = [
    ("next", ctypes.POINTER(_Interface)),
    ("name", ctypes.c_char_p),
    ("flags", ctypes.c_uint),
    ("address", ctypes.c_void_p),
]


def own_addresses() -> tuple[str, ...]:
    """The IPv4 and IPv6 addresses of this machine's interfaces, in the kernel's order; none if unknown."""
    return tuple(dict.fromkeys(address for _, address in _interfaces()))


def device_of(address: str) -> str:
    """The name of the interface that has this address; empty if none has."""
    wanted = without_scope(without_brackets(address))
    return next((name for name, own in _interfaces() if without_scope(own) == wanted), "")


def _interfaces() -> list[tuple[str, str]]:
    """Pairs of interface name and address."""
    try:
        library = ctypes.CDLL(None, use_errno=True)
        first = ctypes.POINTER(_Interface)()
        if library.getifaddrs(ctypes.byref(first)) != 0:
            return []
    except (OSError, AttributeError):
        return []
    found: list[tuple[str, str]] = []
    try:
        interface: Any = first
        while interface:  # a null pointer at the list's end
            address = _address(interface.contents.address)
            if address:
                found.append((interface.contents.name.decode(errors="replace"), address))
            interface = interface.contents.next
    finally:
        library.freeifaddrs(first)
    return found


def _address(where: Any) -> str:
    """The address in a struct sockaddr; empty for other families."""
    if not where:
        return ""
    head = ctypes.string_at(where, 2)
    family = head[1] if sys.platform == "darwin" else int.from_bytes(head, sys.byteorder)
    if family == socket.AF_INET:
        return socket.inet_ntop(socket.AF_INET, ctypes.string_at(where + 4, 4))
    if family != socket.AF_INET6:
        return ""
    raw = ctypes.string_at(where, 28)
    address = socket.inet_ntop(socket.AF_INET6, raw[8:24])
    index = int.from_bytes(raw[24:28], sys.byteorder)
    if not index or not ipaddress.ip_address(address).is_link_local:
        return address
    try:
        return f"{address}%{socket.if_indextoname(index)}"
    except OSError:  # the interface was removed meanwhile
        return ""
