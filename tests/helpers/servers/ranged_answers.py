"""Answers of web servers to requests for a range of a file, right or with a fault."""

from __future__ import annotations

import http.server
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

CHUNK = 16 << 10
PATIENCE_SECONDS = 20.0
_RANGE = re.compile(r"bytes=(\d+)-(\d*)$")


@dataclass
class Answer:
    """A fault: how a request for a file is answered."""

    status: int = 0  # instead of the file; 0: the file
    headers: dict[str, str] = field(default_factory=dict)
    cut_at: int = -1  # the connection is closed after so many bytes of the body
    silent_at: int = -1  # nothing follows so many bytes of the body, until `released` is set
    released: threading.Event = field(default_factory=threading.Event)
    seconds: float = 0.0  # pause before each 16 KiB
    whole: bool = False  # the range is ignored
    other_size: int = 0  # added to the size of the file in the headers
    at_most: int = 0  # bytes: a shorter range than was requested; 0: all of it
    moved: int = 0  # another range than was requested, which begins so many bytes earlier


def send_range(
    handler: http.server.BaseHTTPRequestHandler,
    payload: bytes,
    headers: Mapping[str, str],
    fault: Answer,
    count: Callable[[int], None],
    ranges: bool = True,
    says_length: bool = True,
    gate: threading.Event | None = None,
) -> None:
    """Answer with the requested range of `payload`.

    The body waits for `gate`. `count` gets its bytes before they are sent, so that whatever a client has
    received is counted; if they can't be sent, it gets them back as a negative number.
    """
    match = _RANGE.match(handler.headers.get("Range", "")) if ranges and not fault.whole else None
    start, end = 0, len(payload)
    if match is not None:
        start, end = int(match[1]), min(int(match[2] or end - 1) + 1, len(payload))
        if start >= len(payload):
            handler.send_response(416)
            for name, value in {**headers, "Content-Range": f"bytes */{len(payload)}"}.items():
                handler.send_header(name, value)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        moved = min(fault.moved, start)
        start, end = start - moved, end - moved
        end = min(end, start + fault.at_most) if fault.at_most else end
        handler.send_response(206)
        size = len(payload) + fault.other_size
        handler.send_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
    else:
        handler.send_response(200)
    for name, value in {**headers, **fault.headers}.items():
        handler.send_header(name, value)
    if says_length:
        whole = fault.other_size if match is None else 0
        handler.send_header("Content-Length", str(end - start + whole))
    else:
        handler.send_header("Connection", "close")
        handler.close_connection = True
    handler.end_headers()
    if handler.command == "HEAD":
        return
    if gate is not None:
        gate.wait(PATIENCE_SECONDS)
    body = payload[start:end]
    for length in (fault.cut_at, fault.silent_at):
        if length >= 0:
            body = body[:length]
            handler.close_connection = True
    count(len(body))
    try:
        _send_body(handler, body, fault)
    except OSError:
        count(-len(body))
        raise


def _send_body(handler: http.server.BaseHTTPRequestHandler, body: bytes, fault: Answer) -> None:
    if not fault.seconds:
        handler.wfile.write(body)
    else:
        for at in range(0, len(body), CHUNK):
            threading.Event().wait(fault.seconds)
            handler.wfile.write(body[at : at + CHUNK])
    if fault.silent_at >= 0:
        fault.released.wait(PATIENCE_SECONDS)
