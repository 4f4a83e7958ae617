"""The address at which a node serves files."""

from __future__ import annotations

import logging
import socket

import pytest

from castray_desktop.workers.agent import network_addresses
from castray_desktop.workers.agent.network_addresses import (
    data_address,
    is_any_local,
    own_addresses,
    with_own_scope,
    without_brackets,
    without_scope,
)

OWN = ("127.0.0.1", "10.0.0.5", "192.168.7.9", "fd00::5", "fe80::1%eth1")


@pytest.mark.parametrize(
    ("networks", "address"),
    [
        ("", "10.0.0.5"),
        ("192.168.0.0/16", "192.168.7.9"),
        ("192.168.7.1/24", "192.168.7.9"),  # an address with a prefix means its network
        ("fd00::/8", "fd00::5"),
        ("fe80::/10", "fe80::1%eth1"),
        ("172.16.0.0/12, fd00::/8,192.168.0.0/16", "fd00::5"),  # its first address
    ],
)
def test_a_node_serves_in_the_network_that_was_named(networks: str, address: str) -> None:
    assert data_address("10.0.0.5", networks, OWN) == address


def test_a_node_outside_the_network_uses_rays_address(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        assert data_address("10.0.0.5", "172.16.0.0/12", OWN) == "10.0.0.5"
    assert "172.16.0.0/12" in caplog.text


def test_an_invalid_network_is_refused_with_the_name_of_the_variable() -> None:
    with pytest.raises(ValueError, match=r"CASTRAY_DATA_NETWORK.*10\.0\.0"):
        data_address("10.0.0.5", "10.0.0/8", OWN)


def test_brackets_and_scopes() -> None:
    assert data_address("[fd00::5]", "", OWN) == "fd00::5"
    assert without_brackets("[::1]") == "::1"
    assert without_brackets("10.0.0.1") == "10.0.0.1"
    assert without_scope("fe80::1%eth1") == "fe80::1"
    assert with_own_scope("fe80::2", "fe80::1%eth1") == "fe80::2%eth1"
    assert with_own_scope("fd00::2", "fe80::1%eth1") == "fd00::2"
    assert with_own_scope("fe80::2", "fd00::1") == "fe80::2"
    assert with_own_scope("10.0.0.2", "fe80::1%eth1") == "10.0.0.2"


def test_a_machine_knows_its_own_addresses() -> None:
    found = own_addresses()
    assert "127.0.0.1" in found
    for address in found:  # this machine can listen at each of them
        family, kind, protocol, _, where = socket.getaddrinfo(address, 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as sock:
            sock.bind(where)


def test_the_own_address_towards_a_host() -> None:
    assert network_addresses.address_towards("127.0.0.1") == ""  # no other machine reaches it
    assert network_addresses.address_towards("no such host.invalid") == ""


def test_an_address_for_others_is_never_a_loopback() -> None:
    found = network_addresses.address_for_others("")
    assert found == "" or not found.startswith("127.")
    with pytest.raises(ValueError):
        network_addresses.address_for_others("no network")


def test_whether_a_port_is_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert not network_addresses.is_port_free("127.0.0.1", port)
    assert network_addresses.is_port_free("127.0.0.1", port)


@pytest.mark.parametrize(
    ("hosts", "here"),
    [
        (["10.0.0.9", "10.0.0.5"], True),
        (["10.0.0.9", "worker-1"], False),
        (["127.0.0.2"], True),
        (["[fd00::5]"], True),
        (["fe80::1"], True),
    ],
)
def test_whether_one_of_a_clusters_nodes_is_here(
    hosts: list[str], here: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network_addresses, "own_addresses", lambda: OWN)
    assert is_any_local(hosts) is here
