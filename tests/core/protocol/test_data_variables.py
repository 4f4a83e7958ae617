"""What the variables of data ports and networks accept."""

from __future__ import annotations

import pytest

from castray_desktop.core.protocol.nodes.data_variables import parse_networks, parse_ports


@pytest.mark.parametrize(
    ("text", "ports"),
    [
        ("7000-7010", (7000, 7010)),
        (" 7000 - 7010 ", (7000, 7010)),
        ("7000", (7000, 7000)),
        ("7000-", (7000, 7000)),
        ("1-65535", (1, 65535)),
        ("", None),
        (" ", None),
        ("0", None),
        ("0-0", None),
    ],
)
def test_ranges_of_ports(text: str, ports: tuple[int, int] | None) -> None:
    assert parse_ports(text) == ports


@pytest.mark.parametrize("text", ["many", "-", "-7000", "1-2-3", "7000-²", "7000,7001", "7000-x"])
def test_texts_that_are_no_range(text: str) -> None:
    with pytest.raises(ValueError, match=r"^CASTRAY_DATA_PORTS: the format is LOW-HIGH"):
        parse_ports(text)


@pytest.mark.parametrize("text", ["7010-7000", "0-7000", "7000-0", "7000-65536", "65536", "7000--7010"])
def test_ranges_outside_of_the_ports(text: str) -> None:
    with pytest.raises(ValueError, match=r"^CASTRAY_DATA_PORTS: ports go from 1 to 65535"):
        parse_ports(text)


def test_networks() -> None:
    assert [str(network) for network in parse_networks(" fd00::/8 ,10.1.2.3/16,")] == [
        "fd00::/8",
        "10.1.0.0/16",
    ]
    assert parse_networks(" ") == []
    with pytest.raises(ValueError, match=r"^CASTRAY_DATA_NETWORK: .*10\.0\.0/8"):
        parse_networks("10.0.0/8")
