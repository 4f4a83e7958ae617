"""Datagrams and reports of multicast."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from castray_desktop.core.multicast.datagrams import (
    HEADER_BYTES,
    MAX_DATAGRAM,
    REPORT_BYTES,
    TAG_BYTES,
    ZONE_BYTES,
    DatagramHeader,
    DatagramKeys,
    InvalidReportError,
    ReceiverReport,
    first_report_number,
    group_address,
    is_newer_report,
    next_report_number,
    pack_datagram_header,
    parse_datagram_header,
    payload_bytes,
    receiver_id,
    tag_offset,
    zone_of,
)

KEYS = DatagramKeys(bytes(range(32)), "0123456789ab")
MOST = 50
REPORT = ReceiverReport(receiver_id("gpu-01"), 7, False, 1 << 40, 1234, 1 << 41, 1 << 50, 99, True)


@given(
    st.binary(min_size=TAG_BYTES, max_size=TAG_BYTES),
    st.integers(0, (1 << 48) - 1),
    st.integers(0, (1 << 32) - 1),
    st.integers(0, (1 << 32) - 1),
    st.integers(0, (1 << 16) - 1),
)
def test_a_head_comes_back(tag: bytes, sequence: int, piece: int, offset: int, size: int) -> None:
    raw = pack_datagram_header(tag, sequence, piece, offset, size)
    assert len(raw) == HEADER_BYTES
    there = memoryview(b"before" + raw + b"payload")
    assert parse_datagram_header(there, 6) == DatagramHeader(tag, sequence, piece, offset, size)


@given(
    st.integers(1, MOST),
    st.integers(0, 1 << 40),
    st.integers(0, (1 << 32) - 1),
    st.sampled_from([512, 1424, 1448]),
)
@example(MOST, 0, 0, 65535)  # several zones
def test_the_tags_of_a_piece_are_those_of_its_datagrams(
    number: int, sequence: int, piece: int, size: int
) -> None:
    tags = KEYS.tags(DatagramHeader(b"", sequence, piece, 0, size), number)
    assert len(tags) == number * TAG_BYTES
    for at in range(number):
        head = DatagramHeader(b"", sequence + at, piece, at * size, size)
        assert tags[at * TAG_BYTES : (at + 1) * TAG_BYTES] == KEYS.tags(head, 1)


@given(st.floats(0, 1e11), st.integers(1, 1000))
def test_another_agent_of_a_node_goes_on_numbering(seconds: float, reports: int) -> None:
    number = first_report_number(seconds)
    for _ in range(reports):
        following = next_report_number(number)
        assert is_newer_report(following, number)
        assert not is_newer_report(number, following)
        number = following
    assert not is_newer_report(number, number)
    assert is_newer_report(number, None)
    assert is_newer_report(first_report_number(seconds + 1.5), number)


@given(st.integers(0, 1 << 40), st.integers(0, 1 << 20), st.integers(0, 5000), st.integers(512, 1424))
def test_all_datagrams_of_a_zone_name_it_alike(first: int, piece: int, number: int, size: int) -> None:
    here = zone_of(first + number, piece, number * size, size)
    after = zone_of(first + number + 1, piece, (number + 1) * size, size)
    same = number * size // ZONE_BYTES == (number + 1) * size // ZONE_BYTES
    assert (here == after) is same
    assert here != zone_of(first + number + 1, piece, number * size, size)


def test_tags_differ_by_zone_cast_and_secret() -> None:
    zone = zone_of(0, 3, 0, 1424)
    tags = {
        KEYS.zone_tags(*zone),
        KEYS.zone_tags(*zone_of(0, 4, 0, 1424)),
        KEYS.zone_tags(*zone_of(0, 3, ZONE_BYTES, 1424)),
        KEYS.zone_tags(*zone_of(1, 3, 0, 1424)),
        DatagramKeys(bytes(range(32)), "0123456789ac").zone_tags(*zone),
        DatagramKeys(bytes(32), "0123456789ab").zone_tags(*zone),
    }
    assert len(tags) == 6


@pytest.mark.parametrize("size", [512, 1000, 1422, 1446, 65535])
def test_each_datagram_has_a_tag_of_its_own(size: int) -> None:
    places = range(0, 1 << 20, size)
    tags = set()
    for sequence, place in enumerate(places, 1000):
        zone = KEYS.zone_tags(*zone_of(sequence, 3, place, size))
        at = tag_offset(place, size)
        assert TAG_BYTES <= at <= len(zone) - TAG_BYTES
        tags |= {zone[at : at + TAG_BYTES], zone[:TAG_BYTES]}
    zones = {place // ZONE_BYTES for place in places}
    assert len(tags) == len(places) + len(zones)  # and one for each zone's datagrams without bytes


@given(
    st.integers(0, (1 << 64) - 1),
    st.integers(0, (1 << 32) - 1),
    st.integers(0, (1 << 32) - 1),
    st.integers(512, MAX_DATAGRAM),
)
def test_whatever_a_head_says_has_tags(sequence: int, piece: int, offset: int, size: int) -> None:
    tags = KEYS.zone_tags(*zone_of(sequence, piece, offset, size))
    assert len(tags[tag_offset(offset, size) :]) >= TAG_BYTES


@pytest.mark.parametrize("leaving", [False, True])
@pytest.mark.parametrize("undecided", [False, True])
@pytest.mark.parametrize("crowded", [False, True])
def test_a_report_comes_back(leaving: bool, undecided: bool, crowded: bool) -> None:
    report = REPORT._replace(leaving=leaving, undecided=undecided, crowded=crowded)
    raw = KEYS.pack_report(report)
    assert len(raw) == REPORT_BYTES
    assert KEYS.parse_report(raw) == report


@given(st.binary(max_size=100))
def test_what_is_no_report_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidReportError):
        KEYS.parse_report(raw)


@given(st.integers(0, REPORT_BYTES * 8 - 1))
def test_a_flipped_bit_is_noticed(bit: int) -> None:
    raw = bytearray(KEYS.pack_report(REPORT))
    raw[bit // 8] ^= 1 << bit % 8
    with pytest.raises(InvalidReportError):
        KEYS.parse_report(bytes(raw))


def test_a_report_of_another_cast_is_refused() -> None:
    with pytest.raises(InvalidReportError):
        DatagramKeys(bytes(range(32)), "another").parse_report(KEYS.pack_report(REPORT))


@pytest.mark.parametrize("ipv6", [False, True])
@given(st.text("0123456789abcdef", min_size=12, max_size=12), st.integers(0, 5))
def test_groups_are_of_the_organization(ipv6: bool, cast: str, attempt: int) -> None:
    address, port = group_address(cast, ipv6, attempt)
    found = ipaddress.ip_address(address)
    assert found.is_multicast
    if not ipv6:
        assert found in ipaddress.ip_network("239.192.0.0/14")
    assert 61000 <= port < 65536
    assert group_address(cast, ipv6, attempt) == (address, port)
    assert group_address(cast, ipv6, attempt + 1) != (address, port)


@pytest.mark.parametrize(
    ("mtu", "ipv6"), [(1500, False), (1500, True), (1450, False), (9000, False), (576, False)]
)
def test_datagrams_fit_the_link(mtu: int, ipv6: bool) -> None:
    size = payload_bytes(mtu, ipv6)
    assert size % 8 == 0
    assert size + HEADER_BYTES <= MAX_DATAGRAM
    assert size + HEADER_BYTES + (48 if ipv6 else 28) <= max(mtu, 576 + HEADER_BYTES)
