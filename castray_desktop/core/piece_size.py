"""How long the pieces of a cast are: what a node takes in and checks before it passes it on."""

from __future__ import annotations

LONGEST = 1 << 20
SHORTEST = 256 << 10
"""Shorter ones cost more processor time than they save on the way."""

NOTICED = 64
"""All hops together are to take no more than the time of one part in so many of the whole."""


def piece_bytes(size: int, recipients: int) -> int:
    """Bytes, a power of two, for `size` bytes that go to so many recipients.

    The last node of a chain is behind the first by a piece for each hop, however fast the lines are: with 32
    recipients, 256 MiB and pieces of 1 MiB that is an eighth of one copy's time.
    """
    length = LONGEST
    while length > SHORTEST and length * recipients * NOTICED > size:
        length //= 2
    return length
