"""Why multicast has stopped and the relay did the rest, in plain words: what happened, and what to do."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from castray_desktop.core.errors import Explanation
from castray_desktop.core.messages import MulticastSnapshot
from castray_desktop.core.multicast import MulticastEnd, MulticastState
from castray_desktop.core.reasons import say_reason

_E = MulticastEnd

TEMPLATES: Mapping[MulticastEnd, tuple[str, str]] = {
    _E.ORDERED: ("Multicast ended with the cast.", ""),
    _E.NOTHING_ARRIVES: (
        "Multicast from {source} reached nobody, so the relay brought the files.",
        "Let firewalls pass UDP to 239.192.0.0/14 (ff12::/16 with IPv6), and give switches with IGMP snooping"
        " a querier. Cloud networks mostly carry no multicast; the relay is the way there.",
    ),
    _E.TOO_SLOW: (
        "Multicast stayed at its lowest speed, so the relay brought the rest.",
        "Most datagrams are lost on the way: look at the network between the nodes, or leave the way to the"
        " program, which then uses the relay.",
    ),
    _E.NOBODY: (
        "No recipient needed multicast, or could follow it, so the relay brought the files.",
        "Recipients on the source's own machine, or with its storage, are served faster without it. Where"
        " others lose most of it, look at the network between them.",
    ),
    _E.NO_NETWORK: (
        "{source} can't send by multicast: {reason}. The relay brought the files.",
        "Give its network device a multicast route, or leave the way to the program.",
    ),
    _E.ENCRYPTED: (
        "Ray encrypts its connections here, and multicast can't be encrypted, so the relay brought the"
        " files.",
        "Leave the way to the program: it keeps files encrypted where Ray is.",
    ),
    _E.SOURCE_LOST: (
        "{source} went away before multicast was through, so a recipient fed the others.",
        "See what has become of {source} before you send from it again.",
    ),
    _E.OVER: (
        "The cast was over before it was known whether multicast arrives.",
        "The relay brings so little in a moment. Multicast pays for large casts only.",
    ),
}
"""What happened, then what to do."""


def why_stopped(
    multicast: MulticastSnapshot | None, source: str, translate: Callable[[str], str] = str
) -> Explanation | None:
    """Why multicast was tried and did not bring everything; None where there is nothing to explain."""
    if multicast is None or multicast.state is not MulticastState.STOPPED:
        return None
    happened, remedy = TEMPLATES[multicast.end or MulticastEnd.ORDERED]
    values = {"source": source, "reason": say_reason(multicast.reason, translate).rstrip(".") or "?"}
    return Explanation(*(translate(text).format_map(values) if text else "" for text in (happened, remedy)))
