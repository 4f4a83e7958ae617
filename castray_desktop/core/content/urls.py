"""Addresses of files on web servers and in stores: which texts are one, how they are shown, and the names of
the files.

The node that downloads asks for `https://host/path` and `http://host/path` itself. The engine resolves
those of stores: `s3://bucket/key`, `gs://bucket/object`, `az://container/blob`, `hf://organization/name`.
"""

from __future__ import annotations

import os
import re
import urllib.parse

from castray_desktop.core.content.file_names import safe_component
from castray_desktop.core.content.hub_addresses import parse_hub_address

WEB_SCHEMES = ("http", "https")
STORE_SCHEMES = ("s3", "gs", "az", "hf")

_URL = re.compile(rf"({'|'.join((*WEB_SCHEMES, *STORE_SCHEMES))})://[^\s/]", re.IGNORECASE)


def is_url(text: str) -> bool:
    """Whether this is the address of a file on a web server or in a store, and not a path."""
    return _URL.match(text) is not None


def is_store_url(text: str) -> bool:
    """Whether this is the address of something in a store, which the engine resolves."""
    return is_url(text) and url_scheme(text) in STORE_SCHEMES


def url_scheme(url: str) -> str:
    """The scheme of an address: `https`, `s3`."""
    return url.partition("://")[0].lower()


def redacted_url(url: str) -> str:
    """The address without what may be secret: user, password, query and fragment. Names of objects of S3 and
    Google may have a `?` and a `#` in them, those of other stores a `#`."""
    scheme = url_scheme(url)
    if scheme in STORE_SCHEMES:
        host, slash, path = url.partition("://")[2].partition("/")
        path = path if scheme in ("s3", "gs") else path.partition("?")[0]
        return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"
    parts = urllib.parse.urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urllib.parse.urlunsplit((parts.scheme, host, parts.path, "", ""))


def _hub_name(url: str) -> str:
    """The name of a repository, or of a file or folder in it; empty if this is no address of the hub."""
    try:
        address = parse_hub_address(url)
    except ValueError:
        return ""
    return address.path.rpartition("/")[2] or address.name


def url_file_name(url: str) -> bytes:
    """The name of the file or folder at the recipients: the last part of the path, or else the host."""
    if url_scheme(url) in STORE_SCHEMES:  # names of objects are not quoted
        host, _, path = url.partition("://")[2].partition("/")
        name = path.rstrip("/").rpartition("/")[2]
        if url_scheme(url) == "hf":
            name = _hub_name(url) or name
    else:
        parts = urllib.parse.urlsplit(url)
        host = parts.hostname or ""
        name = urllib.parse.unquote(parts.path.rstrip("/").rpartition("/")[2], errors="surrogateescape")
    for candidate in (os.fsencode(name), os.fsencode(host)):
        try:
            return safe_component(candidate)
        except ValueError:
            continue
    return b"download"
