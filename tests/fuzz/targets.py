"""All fuzz targets: the one list of parsers that read bytes from elsewhere."""

from __future__ import annotations

from tests.fuzz import message_targets, peer_targets, state_file_targets
from tests.fuzz.fuzz_target import FuzzTarget

TARGETS: dict[str, FuzzTarget] = {
    target.name: target
    for target in (*peer_targets.TARGETS, *state_file_targets.TARGETS, *message_targets.TARGETS)
}
