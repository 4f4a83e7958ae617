"""Texts that travel as values of failures and are translated like the sentences around them.

A failure's values are names and numbers, and sometimes words: the kind of a path, or a message of the
operating system. Known words are translated; unknown ones are shown as they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable

TRANSLATABLE_VALUES = (
    # what a path is
    "a named pipe",
    "a socket",
    "a device",
    "neither file nor folder",
    "a name that is not UTF-8",
    "the root of the file system",
    "too deep in its folders",
    "made up by the kernel when it is read",
    "a link to a folder that it lies in",
    # who could not
    "the source could not read it",
    "the source",
    # room
    "room for {count} files",
    "{count} files",
    # a folder
    "it is read-only",
    "permission denied",
    # schedules and history
    "it needs exactly one of an interval, a cron expression and a quiet time",
    "{cron} is not a cron expression that ever comes true",
    "its interval or quiet time is shorter than {seconds} s",
    "what {node} receives would lie in what is sent",
    "it has no name",
    "it was written by a later version of CastRay",
    # clusters
    "one that was forgotten",
    # the engine
    "it took too long",
    "it does not answer",
    "it is ending",
    "it has ended",
    "it ended while the cast was running",
    "it failed, see the log in {path}",
    "no engine is running",
    "the engine has ended",
    "the engine closed the connection",
    "the connection has ended",
    "there is no connection yet",
    "the driver has ended",
    "the cluster names versions that neither Ray nor Python has",
    "Ray {version} has no tokens",
    "this computer has no address that others could reach",
    # a connection between nodes
    "the connection was closed",
    "the connection was closed during the handshake",
    "the handshake took too long",
    "nothing came through for too long",
    "the file ends too early",
    "this cast is not known here",
    "the peer does not know this cast's secret",
    "version {version} is spoken here",
    "this node is closing",
    "there is no way through Ray to it",
    "no port in {low}-{high}",
    # files on a node
    "these files have been closed",
    "another process still works with it",
    # what became of a command after a delivery
    "done",
    "not allowed on this node: {reason}",
    "{program} is not in its list of programs",
    "allow it there with {setting} in {path}",
    "{path} could be changed by others",
    "{path} can't be used: {error}",
    "not a command: {error}",
    "not a command: it is empty",
    "could not be started: {error}",
    "ended, as the cast was cancelled",
    "ended after {limit} s, as it did not end by itself: {said}",
    "ended after {limit} s, as it did not end by itself",
    "ended with status {status}: {said}",
    "ended with status {status}",
    "ended with signal {number}: {said}",
    "ended with signal {number}",
    # what should not happen
    "a parcel without a manifest",
    "the list of files does not fit the parcel",
)

SYSTEM_ERROR_TEXTS = (
    "Broken pipe",
    "Connection refused",
    "Connection reset by peer",
    "Connection timed out",
    "Device or resource busy",
    "Disk quota exceeded",
    "File name too long",
    "Host is down",
    "Input/output error",
    "Name or service not known",
    "Network is unreachable",
    "No route to host",
    "No space left on device",
    "No such file or directory",
    "Not a directory",
    "Operation not permitted",
    "Permission denied",
    "Read-only file system",
    "Stale file handle",
    "Temporary failure in name resolution",
    "Too many open files",
    "timed out",
)
"""Error texts of the operating system, in English."""

_KNOWN = frozenset({*TRANSLATABLE_VALUES, *SYSTEM_ERROR_TEXTS})
_WITH_VALUES = {
    text: re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>.+?)", re.escape(text)))
    for text in TRANSLATABLE_VALUES
    if "{" in text
}


def translate_value(value: str, translate: Callable[[str], str]) -> str:
    """A failure's value in the language of `translate`, if it is one of the words here.

    A `{reason}` within it is said in the same way.
    """
    if value in _KNOWN:
        return translate(value)
    for text, pattern in _WITH_VALUES.items():
        found = pattern.fullmatch(value)
        if found is not None:
            values = found.groupdict()
            if "reason" in values:
                values["reason"] = translate_value(values["reason"], translate)
            return translate(text).format_map(values)
    return value
