"""A repository of the hub as `huggingface_hub` keeps it in its cache, so that a recipient opens it offline.

    models--OWNER--NAME/blobs/HASH              the contents, named by what the hub calls them
    models--OWNER--NAME/refs/REVISION           the commit of a branch or tag
    models--OWNER--NAME/snapshots/COMMIT/PATH   relative links to the blobs

There is no list of what a commit holds in `trees`: a cast may leave files out, and the library would refuse
a snapshot that lacks some of the list.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from castray_desktop.core.content.hub_addresses import HubAddress, parse_hub_address
from castray_desktop.core.protocol.nodes.cast_parcel import RemoteFile, pack_contents

DEFAULT_BRANCH = "main"
_COMMIT = re.compile(r"[0-9a-f]{40}")


def in_cache_layout(address: HubAddress, files: Sequence[RemoteFile]) -> tuple[RemoteFile, ...]:
    """The entries of the cache for these files, which are of one commit of the repository at `address`."""
    top = address.cache_folder
    blobs: dict[str, RemoteFile] = {}
    links: list[RemoteFile] = []
    commit = ""
    for file in files:
        place = parse_hub_address(file.address)
        commit = place.revision
        blob = file.checksum.partition(":")[2]
        blobs.setdefault(blob, replace(file, path=f"{top}/blobs/{blob}"))
        above = "../" * (place.path.count("/") + 2)
        links.append(
            RemoteFile(
                path=f"{top}/snapshots/{commit}/{place.path}",
                url="",
                size=0,
                modified_ns=file.modified_ns,
                target=f"{above}blobs/{blob}",
            )
        )
    found = list(blobs.values())
    revision = address.revision or DEFAULT_BRANCH
    if files and not _COMMIT.fullmatch(revision):
        reference = RemoteFile(
            f"{top}/refs/{revision}", "", len(commit), contents=pack_contents(commit.encode())
        )
        found.append(replace(reference, modified_ns=files[0].modified_ns))
    return (*found, *links)
