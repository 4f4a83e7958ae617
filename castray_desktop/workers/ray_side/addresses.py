"""The address at which a node serves files: Ray's, or its own one in a network that the user has named.

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

NETWORK_VARIABLE = "CASTRAY_DATA_NETWORK"
"""A network in CIDR notation, or several with commas between, the best first."""

ELSEWHERE = "192.0.2.1"
"""An address for documents: the way there is the default route."""

log = logging.getLogger("castray.agent")


def data_address(ray_address: str, networks: str, own: Iterable[str]) -> str:
    """The first of a machine's `own` addresses that lies in the `networks`, else Ray's for the node.

    A link-local address keeps its scope ("fe80::1%eth0"). Raises ValueError for what is no network.
    """
    candidates = list(own)
    for network in parse_networks(networks):
        for address in candidates:
            if ipaddress.ip_address(without_scope(address)) in network:
                return address
    if networks.strip():
        log.warning(
            "no address of this node lies in %s=%s; it uses %s", NETWORK_VARIABLE, networks, ray_address
        )
    return without_brackets(ray_address)


def address_for_others(networks: str) -> str:
    """The address of this machine that others reach it at; empty if it has none but its loopback.

    In the `networks` if one lies there, else that of the default route, else the first one. Raises ValueError
    for what is no network.
    """
    own = [address for address in own_addresses() if not _is_for_this_machine(address)]
    first = address_towards(ELSEWHERE) or (own[0] if own else "")
    return data_address(first, networks, own) if own else ""


def is_one_here(hosts: Iterable[str]) -> bool:
    """Whether one of these addresses is this machine's own, or a loopback; true if ours are unknown."""
    own = {without_scope(address) for address in own_addresses()}
    given = [without_scope(without_brackets(host)) for host in hosts]
    return not own or any(host in own or _is_loopback(host) for host in given)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name
        return False


def is_free(address: str, port: int) -> bool:
    """Whether one could listen there."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        try:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address, port))
        except OSError:
            return False
    return True


def _is_for_this_machine(address: str) -> bool:
    parsed = ipaddress.ip_address(without_scope(address))
    return bool(parsed.is_loopback or parsed.is_link_local)


def address_towards(host: str) -> str:
    """The own address that packets to a host carry; empty if that is its loopback, or there is no way there.

    Nothing is sent.
    """
    try:
        family, _, _, _, where = socket.getaddrinfo(host, 9, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(where)
            address = str(probe.getsockname()[0])
    except OSError:
        return ""
    return "" if _is_for_this_machine(address) else address


def parse_networks(text: str) -> list[Any]:
    """The networks in a text, in order. Raises ValueError that names the variable."""
    try:
        return [ipaddress.ip_network(part.strip(), strict=False) for part in text.split(",") if part.strip()]
    except ValueError as error:
        raise ValueError(f"{NETWORK_VARIABLE}: {error}") from error


def without_brackets(address: str) -> str:
    """An IPv6 address as sockets take it, from one as it stands in front of a port."""
    return address[1:-1] if address.startswith("[") and address.endswith("]") else address


def host_port(address: str, port: int) -> str:
    """Both in one word; an IPv6 address gets its brackets."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def without_scope(address: str) -> str:
    """An address as other machines may hear it: the name of an interface means nothing there."""
    return address.partition("%")[0]


def scoped(address: str, own: str) -> str:
    """A link-local `address` of another machine, to be reached by the interface of our `own` one."""
    scope = own.partition("%")[2]
    if not scope or "%" in address or ":" not in address:
        return address
    return f"{address}%{scope}" if ipaddress.ip_address(address).is_link_local else address


class _Interface(ctypes.Structure):
    """struct ifaddrs, as far as it is the same on Linux and macOS."""


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
    """The names of interfaces, each with an address of it."""
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
        while interface:  # false at the list's end
            address = _address(interface.contents.address)
            if address:
                found.append((interface.contents.name.decode(errors="replace"), address))
            interface = interface.contents.next
    finally:
        library.freeifaddrs(first)
    return found


def _address(where: Any) -> str:
    """The address in a struct sockaddr; nothing for other families."""
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
    except OSError:  # it has gone meanwhile
        return ""
