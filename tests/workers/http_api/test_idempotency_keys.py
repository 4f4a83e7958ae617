"""The file with the keys of requests: what a later server, or another one, knows."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from castray_desktop.workers.base.paths import Paths
from castray_desktop.workers.http_api import idempotency_keys
from castray_desktop.workers.http_api.idempotency_keys import (
    KEEP_SECONDS,
    IdempotencyKeys,
    KnownRequest,
    StoredAnswer,
)

ANSWER = StoredAnswer(201, ((b"location", b"/api/v1/casts/1"),), b"x" * 10)

KILLED_SERVER = """
import os, sys
from pathlib import Path
from castray_desktop.workers.http_api.idempotency_keys import IdempotencyKeys
keys = IdempotencyKeys(Path(sys.argv[1]))
keys.claim("a-key", b"fingerprint")
print("claimed", flush=True)
sys.stdin.read()
os._exit(1)
"""


@pytest.fixture
def keys(paths: Paths) -> Iterator[IdempotencyKeys]:
    with closing(IdempotencyKeys(paths.api_keys)) as keys:
        yield keys


def test_a_request_of_a_killed_server_was_interrupted(paths: Paths, keys: IdempotencyKeys) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", KILLED_SERVER, paths.api_keys],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        assert server.stdout.readline() == "claimed\n"
        assert keys.claim("a-key", b"other") == KnownRequest(b"fingerprint", in_progress=True)
        server.kill()
        server.wait(30)
    assert keys.claim("a-key", b"fingerprint") == KnownRequest(b"fingerprint")
    assert keys.claim("another", b"fingerprint") is None


def test_only_the_user_can_read_the_file(paths: Paths, keys: IdempotencyKeys) -> None:
    keys.claim("a-key", b"")
    files = list(paths.home.glob("api-keys.sqlite*"))
    assert len(files) >= 1
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}


@pytest.mark.parametrize("content", [b"no database" * 100, b"SQLite format 3\0" + b"\1" * 4000])
def test_a_damaged_file_is_set_aside(paths: Paths, content: bytes) -> None:
    paths.api_keys.write_bytes(content)
    with closing(IdempotencyKeys(paths.api_keys)) as keys:
        assert keys.claim("a-key", b"") is None
    (aside,) = paths.home.glob("damaged-*-api-keys.sqlite")
    assert aside.read_bytes() == content


def test_an_answer_that_can_not_be_read_counts_as_interrupted(
    keys: IdempotencyKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys.claim("a-key", b"f")
    monkeypatch.setattr(idempotency_keys.msgspec.msgpack, "encode", lambda answer: b"\xc1")
    keys.answered("a-key", ANSWER)
    assert keys.claim("a-key", b"f") == KnownRequest(b"f")


def test_keys_are_bounded_in_number_and_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idempotency_keys, "MAX_KEYS", 3)
    with closing(IdempotencyKeys(wall=lambda: 0.0)) as keys:
        keys.claim("in progress", b"")
        for number in range(10):
            assert keys.claim(str(number), b"") is None
            keys.answered(str(number), ANSWER)
        assert keys.claim("in progress", b"") == KnownRequest(b"", in_progress=True)
        assert keys.claim("9", b"") == KnownRequest(b"", ANSWER)
        assert keys.claim("7", b"") is None  # it was dropped
        monkeypatch.setattr(idempotency_keys, "MAX_STORED_BYTES", 15)
        keys.claim("another", b"")
        assert keys.claim("9", b"") is None


def test_a_key_is_known_for_a_day(tmp_path: Path) -> None:
    now = 0.0
    with closing(IdempotencyKeys(tmp_path / "keys", lambda: now)) as keys:
        keys.claim("a-key", b"")
        now = KEEP_SECONDS
        assert keys.claim("a-key", b"") is not None
        now += 1
        assert keys.claim("a-key", b"") is None
