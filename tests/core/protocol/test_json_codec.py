"""Messages between engine, driver and agents are decoded unchanged."""

from __future__ import annotations

import typing
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from castray_desktop.core.failures.kinds import Failure, FailureKind
from castray_desktop.core.protocol.nodes import (
    agent_orders,
    agent_reports,
    cast_parcel,
    driver_protocol,
    json_codec,
)

# Surrogates represent bytes that are not UTF-8, as in paths.
texts = st.text(st.characters(), max_size=20)
st.register_type_strategy(str, texts)
st.register_type_strategy(int, st.integers(json_codec.MIN_NUMBER, json_codec.MAX_NUMBER))
st.register_type_strategy(float, st.floats(allow_nan=False, allow_infinity=False))

UNIONS = (
    driver_protocol.ToDriver,
    driver_protocol.FromDriver,
    agent_orders.Order,
    agent_orders.OrderReply,
    typing.Union[agent_reports.AgentHello, agent_reports.AgentReport],  # noqa: UP007 - as the agents read it
)
CASES = [(union, kind) for union in UNIONS for kind in typing.get_args(union) if kind is not type(None)]


@pytest.mark.parametrize(("union", "kind"), CASES, ids=lambda case: getattr(case, "__name__", ""))
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_every_message_is_decoded_unchanged(union: Any, kind: type, data: st.DataObject) -> None:
    message = data.draw(st.from_type(kind))
    text = json_codec.to_json(message)
    assert b"\n" not in text
    assert json_codec.from_json(text, union) == message


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"null",
        b"1",
        b"[]",
        b'"text"',
        b'["AgentLost"]',
        b'["AgentLost",null]',
        b'["AgentLost",[]]',
        b'["AgentLost",{}]',
        b'["AgentLost",{"name":"x"}]',
        b'["AgentLost",{"name":"x","reason":1}]',
        b'["AgentUp",{"hello":null}]',
        b'["AgentCallResult",{"number":"1"}]',
        b'["AgentCallResult",{"number":1e999}]',
        b'["AgentCallResult",{"number":' + b"9" * 400 + b"}]",
        b'["AgentCallResult",{"number":1,"raised":1}]',
        b'["ClusterUp",{"address":"a","ray_version":"","python_version":"","nodes":"ab"}]',
        b'["AgentLost",{"name":"x","reason":"y","more":1}]',
        b'["Nonsense",{}]',
        b'["PlaceAgent",{"name":"x"}]',  # this message goes the other way
        b'["ClusterFailed",{"failure":{"kind":"nonsense"}}]',
        b'["ClusterFailed",{"failure":7}]',
        b'["AgentCallResult",{"number":1,"reply":["NoneType",{}]}]',
        b'["AgentCallResult",{"number":1,"reply":["CancelCast",{"cast":"x"}]}]',
        b'["AgentCallResult",{"number":1,"reply":' + b"[" * 100_000,
        b'["AgentLost",{"name":"x","reason":"y"}',
        b"\xff\xfe",
        b'[{"a":1},{}]',
        b"[" * 100_000,
        b'["AgentLost",' * 50_000,
    ],
)
def test_garbage_is_a_value_error(garbage: bytes) -> None:
    with pytest.raises(ValueError):
        json_codec.from_json(garbage, driver_protocol.FromDriver)


@given(st.binary(max_size=40))
def test_no_bytes_do_more_than_raise_a_value_error(garbage: bytes) -> None:
    with pytest.raises(ValueError):
        json_codec.from_json(garbage, driver_protocol.FromDriver)


def test_a_secret_is_not_shown() -> None:
    """Orders appear in logs and in the text of errors."""
    upstream = cast_parcel.Upstream("n", "a", 1)
    totals, algorithms = cast_parcel.ParcelTotals(1, "m", 1, 1, 1, 1), cast_parcel.Algorithms()
    orders = (
        agent_orders.StartDelivery("c", "hush", 1, upstream, totals, algorithms),
        agent_orders.ServeSource("c", "hush", 1, algorithms),
    )
    for order in orders:
        assert "hush" not in repr(driver_protocol.AgentCall(1, "node", order))
        assert b"hush" in json_codec.to_json(order)


def test_the_order_inside_a_call_keeps_its_kind() -> None:
    failure = Failure(FailureKind.NO_ROOM, {"node": "x"})
    call = driver_protocol.AgentCall(3, "node", agent_orders.AnnounceTrailer("c", "digest"))
    assert json_codec.from_json(json_codec.to_json(call), driver_protocol.ToDriver) == call
    reply = driver_protocol.AgentCallResult(3, agent_orders.DestinationReply(failure=failure))
    assert json_codec.from_json(json_codec.to_json(reply), driver_protocol.FromDriver) == reply
