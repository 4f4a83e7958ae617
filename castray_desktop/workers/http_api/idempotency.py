"""`Idempotency-Key`: a repeated POST gets the first answer, and nothing is done twice."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import sqlite3
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from castray_desktop.core.failures.kinds import FailureKind
from castray_desktop.workers.http_api.idempotency_keys import IdempotencyKeys, StoredAnswer
from castray_desktop.workers.http_api.problems import (
    KEY_IN_PROGRESS,
    KEY_INTERRUPTED,
    KEY_NOT_STORED,
    KEY_REUSED,
    MALFORMED,
    V1,
    problem_response,
)

HEADER = "Idempotency-Key"
REPLAYED = b"idempotent-replayed"
MAX_KEY_LENGTH = 255

_UNCERTAIN = (FailureKind.ENGINE_UNREACHABLE.value, FailureKind.INTERNAL.value)
"""If the connection to the engine ends during a request, it is not known whether the engine has done it."""

log = logging.getLogger("castray.api")


class IdempotentRequests:
    """Passes requests to `app`; a POST of v1 whose key is known gets its first answer instead."""

    def __init__(self, app: ASGIApp, connected: Callable[[], bool], keys: IdempotencyKeys) -> None:
        """`connected` tells whether a command can reach the engine."""
        self._app = app
        self._connected = connected
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = Headers(scope=scope).getlist(HEADER) if _is_v1_post(scope) else []
        if not given:
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        key = given[0]
        if len(given) > 1 or not 0 < len(key) <= MAX_KEY_LENGTH or not _is_printable(key):
            text = f"{HEADER}: one value of 1 to {MAX_KEY_LENGTH} printable ASCII characters has to be given."
            await problem_response(path, MALFORMED._replace(detail=text))(scope, receive, send)
            return
        try:
            body = await Request(scope, receive).body()
        except ClientDisconnect:
            return
        fingerprint = _fingerprint(scope, body)
        try:
            known = await asyncio.to_thread(self._keys.claim, key, fingerprint)
        except (sqlite3.Error, OSError) as error:
            log.warning("an Idempotency-Key can't be stored, so its request is refused: %s", error)
            await problem_response(path, KEY_NOT_STORED)(scope, receive, send)
            return
        if known is None:
            await self._answer(key, body, scope, receive, send)
        elif known.fingerprint != fingerprint:
            await problem_response(path, KEY_REUSED)(scope, receive, send)
        elif known.answer is not None:
            await _send_again(known.answer, send)
        elif not known.in_progress:
            await problem_response(path, KEY_INTERRUPTED)(scope, receive, send)
        else:
            response = problem_response(path, KEY_IN_PROGRESS)
            response.headers["Retry-After"] = "1"
            await response(scope, receive, send)

    async def _answer(self, key: str, body: bytes, scope: Scope, receive: Receive, send: Send) -> None:
        """Let `app` answer, and store the answer before it is sent, unless nothing was done."""
        connected = self._connected()
        sent: list[Message] = []

        async def collect(message: Message) -> None:
            sent.append(message)

        try:
            await self._app(scope, _replayed(body, receive), collect)
        finally:
            await self._settle(key, sent, connected)
            for message in sent:
                await send(message)

    async def _settle(self, key: str, sent: list[Message], connected: bool) -> None:
        """Store what became of a request. If that fails, it counts as interrupted."""
        answer = _stored(sent)
        try:
            if answer is None:  # the server ends, and the engine may have the command already
                self._keys.interrupted(key)
            elif _was_done(answer, connected):
                await asyncio.to_thread(self._keys.answered, key, answer)
            else:
                await asyncio.to_thread(self._keys.forget, key)
        except (sqlite3.Error, OSError) as error:
            log.warning("the answer to a request with an Idempotency-Key can't be stored: %s", error)


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


def _stored(sent: list[Message]) -> StoredAnswer | None:
    """The complete answer; None if it is not complete."""
    if not sent or sent[-1].get("more_body", False) or sent[-1]["type"] != "http.response.body":
        return None
    headers = tuple((bytes(name), bytes(value)) for name, value in sent[0].get("headers", ()))
    return StoredAnswer(sent[0]["status"], headers, b"".join(part.get("body", b"") for part in sent[1:]))


async def _send_again(answer: StoredAnswer, send: Send) -> None:
    headers = [*answer.headers, (REPLAYED, b"true")]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


def _was_done(answer: StoredAnswer, connected: bool) -> bool:
    """Whether the request was carried out, or may have been."""
    if answer.status < 500 or not connected:
        return answer.status < 300
    return json.loads(answer.body).get("kind") in _UNCERTAIN
