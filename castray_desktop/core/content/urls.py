"""Addresses of files on web servers: which texts are one, how they are shown, and the names of the files.

Standard library only: this module is shipped to the nodes.
"""

from __future__ import annotations

import os
import re
import urllib.parse

from castray_desktop.core.content.file_names import safe_component

_URL = re.compile(r"(https?)://[^\s/]", re.IGNORECASE)


def is_url(text: str) -> bool:
    """Whether this is the address of a file on a web server, and not a path."""
    return _URL.match(text) is not None


def redacted_url(url: str) -> str:
    """The address without what may be secret: user, password, query and fragment."""
    parts = urllib.parse.urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urllib.parse.urlunsplit((parts.scheme, host, parts.path, "", ""))


def url_file_name(url: str) -> bytes:
    """The name of the file at the recipients: the last part of the path, or else the host."""
    parts = urllib.parse.urlsplit(url)
    name = urllib.parse.unquote(parts.path.rstrip("/").rpartition("/")[2], errors="surrogateescape")
    for candidate in (os.fsencode(name), os.fsencode(parts.hostname or "download")):
        try:
            return safe_component(candidate)
        except ValueError:
            continue
    return b"download"
