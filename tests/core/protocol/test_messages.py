"""The engine protocol's frames."""

from __future__ import annotations

import contextlib
import hashlib
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from castray_desktop.core.failures.kinds import Failure, FailureKind
from castray_desktop.core.protocol import messages

FORM_OF_VERSION = {6: "fb4412e5f12694fc"}


def without_descriptions(schema: Any) -> Any:
    """A schema without the docstrings of its classes."""
    if isinstance(schema, dict):
        return {key: without_descriptions(value) for key, value in schema.items() if key != "description"}
    return [without_descriptions(value) for value in schema] if isinstance(schema, list) else schema


def test_a_change_of_a_message_raises_the_version() -> None:
    """An older engine may run when the program is updated: raise PROTOCOL_VERSION and enter its digest."""
    both = (messages.ToEngine, messages.FromEngine)
    form = json.dumps(without_descriptions(msgspec.json.schema_components(both)[1]), sort_keys=True)
    digest = hashlib.sha256(form.encode()).hexdigest()[:16]
    assert {messages.PROTOCOL_VERSION: digest} == FORM_OF_VERSION


def test_a_message_comes_back_as_it_was() -> None:
    summary = messages.CastSummary(
        cast="abc",
        name="权重/",
        state=messages.CastState.SENDING,
        source="s",
        recipients=("a", "b"),
        mode=messages.CastMode.MULTICAST,
        started=1.5,
        failure=Failure(FailureKind.NO_ROOM, {"node": "a"}),
    )
    for message in (messages.CastChanged(summary), messages.Answer(7, messages.Accepted("abc"))):
        frame = messages.encode(message)
        assert int.from_bytes(frame[:4], "big") == len(frame) - 4
        assert messages.decode_from_engine(frame[4:]) == message


def test_a_request_comes_back_as_it_was() -> None:
    request = messages.Request(
        1, messages.Send(messages.SendRequest(("/a",), ("all",), options=messages.TransferOptions(limit=5)))
    )
    assert messages.decode_to_engine(messages.encode(request)[4:]) == request


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_a_clean_refusal(body: bytes) -> None:
    with contextlib.suppress(msgspec.DecodeError):
        messages.decode_to_engine(body)


def test_too_long_a_frame_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "MAX_FRAME_BYTES", 100)
    with pytest.raises(ValueError, match="too long"):
        messages.encode(messages.Accepted("x" * 200))
