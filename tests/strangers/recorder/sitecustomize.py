"""Loaded by every Python process of a watched run: records secrets, commands and all log records.

Below `CASTRAY_WATCHED`, a file for each process: `secrets/` what the module `secrets` has made, `commands/`
the command lines of processes that were started, `logs/` every log record from DEBUG on.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import sys
import traceback
from typing import Any

_FOLDER = os.environ.get("CASTRAY_WATCHED", "")


def _append(kind: str, text: str) -> None:
    with contextlib.suppress(OSError):
        path = f"{_FOLDER}/{kind}/{os.getpid()}"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(descriptor, text.encode("utf-8", "backslashreplace") + b"\n")
        finally:
            os.close(descriptor)


def _recorded(name: str) -> None:
    make = getattr(secrets, name)

    def made(*arguments: Any) -> Any:
        value = make(*arguments)
        caller = sys._getframe(1).f_globals.get("__name__")
        _append("secrets", f"{caller} {name} {value.hex() if isinstance(value, bytes) else value}")
        return value

    setattr(secrets, name, made)


def _heard(event: str, arguments: tuple[Any, ...]) -> None:
    if event in ("subprocess.Popen", "os.exec", "os.posix_spawn", "os.system"):
        _append("commands", " ".join(map(repr, arguments[:2])))


def _watch() -> None:
    for name in ("token_bytes", "token_hex", "token_urlsafe"):
        _recorded(name)
    sys.addaudithook(_heard)
    handle = logging.Logger.callHandlers

    def record_and_handle(logger: logging.Logger, record: logging.LogRecord) -> None:
        text = f"{record.name} {record.levelname} {record.getMessage()}"
        if record.exc_info and record.exc_info[0] is not None:
            text += "\n" + "".join(traceback.format_exception(*record.exc_info))
        _append("logs", text)
        handle(logger, record)

    logging.Logger.callHandlers = record_and_handle  # type: ignore[method-assign]
    logging.root.setLevel(logging.DEBUG)
    logging.root.setLevel = lambda level: None  # type: ignore[method-assign]


if _FOLDER:
    _watch()
