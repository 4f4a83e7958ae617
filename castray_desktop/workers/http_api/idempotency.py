"""`Idempotency-Key`: a repeated POST gets the first answer, and nothing is done twice.

Keys live in the memory of the server, so a restarted `castray serve` does not know them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from castray_desktop.core.failures.kinds import FailureKind
from castray_desktop.workers.http_api.problems import (
    KEY_IN_PROGRESS,
    KEY_REUSED,
    MALFORMED,
    V1,
    problem_response,
)

HEADER = "Idempotency-Key"
REPLAYED = b"idempotent-replayed"
KEEP_SECONDS = 24 * 3600.0
MAX_KEYS = 10_000
MAX_STORED_BYTES = 16 * 1024 * 1024
MAX_KEY_LENGTH = 255

_UNCERTAIN = (FailureKind.ENGINE_UNREACHABLE.value, FailureKind.INTERNAL.value)
"""If the connection to the engine ends during a request, it is not known whether the engine has done it."""


@dataclass
class _Answer:
    """What was answered; `messages` is empty while the request is in progress."""

    fingerprint: bytes
    since: float
    messages: list[Message] = field(default_factory=list)
    size: int = 0


class IdempotencyKeys:
    """The answers by key: each for a day, at most `MAX_KEYS` and `MAX_STORED_BYTES` of bodies."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` returns monotonic seconds."""
        self._clock = clock
        self._answers: dict[str, _Answer] = {}
        self._stored_bytes = 0

    def __len__(self) -> int:
        return len(self._answers)

    def find(self, key: str) -> _Answer | None:
        """The answer for a key, if it is younger than a day or still in progress."""
        self._drop_old()
        return self._answers.get(key)

    def begin(self, key: str, fingerprint: bytes) -> _Answer:
        """A request with a new key begins."""
        answer = self._answers[key] = _Answer(fingerprint, self._clock())
        return answer

    def keep(self, key: str, messages: list[Message]) -> None:
        """The request has been answered."""
        answer = self._answers[key]
        answer.messages = messages
        answer.size = sum(len(message.get("body", b"")) for message in messages)
        self._stored_bytes += answer.size
        self._drop_old()

    def forget(self, key: str) -> None:
        """Nothing was done: the key can be used again."""
        answer = self._answers.pop(key, None)
        if answer is not None:
            self._stored_bytes -= answer.size

    def _drop_old(self) -> None:
        oldest_allowed = self._clock() - KEEP_SECONDS
        for key, answer in list(self._answers.items()):
            full = len(self._answers) > MAX_KEYS or self._stored_bytes > MAX_STORED_BYTES
            if answer.since >= oldest_allowed and not full:
                break
            if answer.messages:
                self.forget(key)


class IdempotentRequests:
    """Passes requests to `app`; a POST of v1 whose key is known gets its first answer instead."""

    def __init__(self, app: ASGIApp, connected: Callable[[], bool], clock: Callable[[], float]) -> None:
        """`connected` tells whether a command can reach the engine; `clock` returns monotonic seconds."""
        self._app = app
        self._connected = connected
        self._keys = IdempotencyKeys(clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = Headers(scope=scope).getlist(HEADER) if _is_v1_post(scope) else []
        if not given:
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        key = given[0]
        if len(given) > 1 or not 0 < len(key) <= MAX_KEY_LENGTH or not _is_printable(key):
            text = f"{HEADER}: one value of 1 to {MAX_KEY_LENGTH} printable ASCII characters has to be given."
            await problem_response(path, MALFORMED.with_detail(text))(scope, receive, send)
            return
        try:
            body = await Request(scope, receive).body()
        except ClientDisconnect:
            return
        fingerprint = _fingerprint(scope, body)
        known = self._keys.find(key)
        if known is None:
            await self._answer(key, fingerprint, body, scope, receive, send)
        elif known.fingerprint != fingerprint:
            await problem_response(path, KEY_REUSED)(scope, receive, send)
        elif not known.messages:
            response = problem_response(path, KEY_IN_PROGRESS)
            response.headers["Retry-After"] = "1"
            await response(scope, receive, send)
        else:
            start, *rest = known.messages
            await send({**start, "headers": [*start["headers"], (REPLAYED, b"true")]})
            for message in rest:
                await send(message)

    async def _answer(
        self, key: str, fingerprint: bytes, body: bytes, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Let `app` answer, and keep the answer unless nothing was done."""
        connected = self._connected()
        self._keys.begin(key, fingerprint)
        sent: list[Message] = []

        async def send_and_keep(message: Message) -> None:
            sent.append(message)
            await send(message)

        try:
            await self._app(scope, _replayed(body, receive), send_and_keep)
        finally:
            if _was_done(sent, connected):
                self._keys.keep(key, sent)
            else:
                self._keys.forget(key)


def _is_v1_post(scope: Scope) -> bool:
    return bool(scope["type"] == "http" and scope["method"] == "POST" and scope["path"].startswith(f"{V1}/"))


def _is_printable(key: str) -> bool:
    return all("!" <= character <= "~" for character in key)


def _fingerprint(scope: Scope, body: bytes) -> bytes:
    """What has to be the same in a repeated request."""
    digest = hashlib.sha256()
    for part in (scope["raw_path"], scope["query_string"], body):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.digest()


def _replayed(body: bytes, receive: Receive) -> Receive:
    """`receive` with the body that was read already."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return waiting.pop() if waiting else await receive()

    return receive_again


def _was_done(sent: list[Message], connected: bool) -> bool:
    """Whether the request was carried out, or may have been."""
    if not sent:  # the handler was cancelled: the server ends
        return False
    status = sent[0]["status"]
    if status < 500 or not connected:
        return bool(status < 300)
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return json.loads(body).get("kind") in _UNCERTAIN
