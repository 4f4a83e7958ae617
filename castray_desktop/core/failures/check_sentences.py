"""The sentences for diagnostic checks: what was found, and what to do.

As in `core.failures.sentences`, the English templates are here, and a window in another language passes
`translate`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from castray_desktop.core.failures.redaction import without_secrets
from castray_desktop.core.failures.sentences import template_values
from castray_desktop.core.protocol.messages import Check, CheckState

ALL_PAIRS_MAX_NODES = 20
"""Up to this many nodes, every pair is tested."""


@dataclass(frozen=True)
class CheckTemplates:
    """The templates of one kind of check: its title, and by state the finding and the remedy."""

    title: str
    good: str = ""
    notice: tuple[str, str] = ("", "")
    bad: tuple[str, str] = ("", "")

    def of(self, state: CheckState) -> tuple[str, str]:
        """The templates of finding and remedy."""
        if state is CheckState.GOOD:
            return self.good, ""
        return self.notice if state is CheckState.NOTICE else self.bad

    def texts(self) -> Iterable[str]:
        """All texts to translate."""
        return (text for text in (self.title, self.good, *self.notice, *self.bad) if text)


_PORTS = "Open TCP ports between them; CASTRAY_DATA_PORTS=LOW-HIGH limits them to a fixed range."
_SHARED_MEMORY = (
    "Enlarge it before Ray starts there: mount -o remount,size=2G /dev/shm, or --shm-size=2g for a container."
)

TEMPLATES: Mapping[str, CheckTemplates] = {
    "castray": CheckTemplates("CastRay", "CastRay {version} with Ray {ray} on Python {python}, {system}."),
    "engine": CheckTemplates(
        "Engine",
        "The engine runs as process {pid}.",
        bad=("{reason}", "{remedy}"),
    ),
    "cluster": CheckTemplates(
        "Cluster",
        "{target}: {ready} of {total} nodes are online, Ray {ray} on Python {python}.",
        ("No cluster is in use, so nodes were not checked.", "Start or attach one, then check again."),
        ("{reason}", "{remedy}"),
    ),
    "node": CheckTemplates(
        "Node",
        "{node} responds: Ray {ray} on Python {python}, {system}.",
        ("{node} is offline.", "Check that machine, and that Ray is running there."),
        ("{node} does not respond: {reason}", "Check that machine, and that Ray is running there."),
    ),
    "starting": CheckTemplates(
        "Node", notice=("{node} is still starting.", "Check again in a moment, when it is online.")
    ),
    "clock": CheckTemplates(
        "Clock",
        "The clock of {node} matches this computer's.",
        (
            "The clock of {node} differs from this computer's by {seconds} s.",
            "Synchronize both with NTP: file times and the validity of certificates depend on them.",
        ),
    ),
    "shared_memory": CheckTemplates(
        "Shared memory",
        "{node} has {free} of {total} free in /dev/shm.",
        (
            "{node} has only {free} of {total} free in /dev/shm, so transfers through Ray are slow there.",
            _SHARED_MEMORY,
        ),
    ),
    "object_store": CheckTemplates(
        "Shared memory",
        notice=(
            "{node} has only {total} of /dev/shm, so Ray stores objects in {folder}, and transfers"
            " through Ray are slow there.",
            _SHARED_MEMORY,
        ),
    ),
    "room": CheckTemplates(
        "Space",
        "{node} can write to {path}, which has {free} free.",
        ("{node} has only {free} left at {path}.", "Free up space there, or choose another inbox."),
        ("{node} can't write to {path}.", "Change the permissions there, or choose another inbox."),
    ),
    "kept_parts": CheckTemplates(
        "Space",
        notice=(
            "{node} keeps {size} of failed deliveries for a retry.",
            "Retry the casts, or remove them from the list. What is kept is removed after a day, and as soon"
            " as another cast needs the room.",
        ),
    ),
    "open_files": CheckTemplates(
        "Open files",
        "A process on {node} can open {count} files.",
        (
            "A process on {node} can open only {count} files.",
            "Raise the limit before Ray is started there: ulimit -n 4096",
        ),
    ),
    "connections": CheckTemplates(
        "Connections",
        "All {count} connections between {nodes} nodes succeeded, the slowest in {milliseconds} ms.",
        (
            "{failed} of {count} connections between {nodes} nodes failed.",
            "See the connections listed below.",
        ),
    ),
    "connection": CheckTemplates(
        "Connection",
        notice=(
            "{node} can't connect to {peer} ({address}): {reason}. The reverse direction works and is"
            " used instead.",
            "No action is needed, unless you don't expect a firewall there.",
        ),
        bad=(
            "{node} can't connect to {peer} ({address}): {reason}. Files go through Ray, which is slower.",
            _PORTS,
        ),
    ),
    "one_way": CheckTemplates(
        "Connection",
        notice=("{node} can't connect to {peer} ({address}): {reason}.", _PORTS),
    ),
    "data_ports": CheckTemplates(
        "Data ports",
        "Data uses {ports} on {network}.",
        (
            "This computer has no address in CASTRAY_DATA_NETWORK={network}, so it uses Ray's.",
            "Specify a network that this computer is in.",
        ),
        ("{variable}={value} can't be used: {reason}", "Correct it, or remove it from the environment."),
    ),
    "display": CheckTemplates(
        "Display",
        "The window is shown on {display}.",
        (
            "There is no display, so the window can't be opened here.",
            "Start it in a desktop session or with ssh -X. The command line does not need a display.",
        ),
    ),
    "qt": CheckTemplates(
        "Qt",
        "Qt {version} can be loaded.",
        (
            "The window is not installed here; the command line works without it.",
            "Install it with: {command}",
        ),
        (
            "The window can't be opened because Qt can't be loaded: {reason}",
            "Install what Qt needs with: {command}",
        ),
    ),
    "fonts": CheckTemplates(
        "Fonts",
        "{font} can display Chinese names.",
        (
            "No installed font has Chinese characters, so Chinese names can't be displayed.",
            "Install one with: {command}",
        ),
    ),
    "inotify": CheckTemplates(
        "Watched folders",
        "{watches} folders can be watched for changes.",
        (
            "Only {watches} folders can be watched for changes.",
            "Raise the limit: sysctl fs.inotify.max_user_watches=524288",
        ),
    ),
}
"""By kind; `node` in a text is the check's own."""


@dataclass(frozen=True)
class Finding:
    """A check for people."""

    title: str
    found: str
    remedy: str


def explain_check(check: Check, translate: Callable[[str], str] = str) -> Finding:
    """The sentences for a check, in the language of `translate`.

    One with `because` in its values, the kind of a failure, gives that one's sentences.
    """
    words = TEMPLATES[check.kind]
    found, remedy = words.of(check.state)
    values = template_values(check.values, translate, "remedy")
    values["node"] = check.node or translate("this computer")
    text = translate(found).format_map(values) if found else ""
    if not check.node and text.startswith(values["node"]):
        text = text[:1].upper() + text[1:]
    advice = translate(remedy).format_map(values) if remedy else ""
    return Finding(translate(words.title), text, advice)


def worst(checks: Iterable[Check]) -> CheckState:
    """How all of it came out."""
    states = {check.state for check in checks}
    if CheckState.BAD in states:
        return CheckState.BAD
    return CheckState.NOTICE if CheckState.NOTICE in states else CheckState.GOOD


def diagnostics_text(checks: Iterable[Check]) -> str:
    """Everything as lines to be passed on, without what looks like a secret."""
    marks = {CheckState.GOOD: "ok", CheckState.NOTICE: "!!", CheckState.BAD: "XX"}
    lines = []
    for check in checks:
        finding = explain_check(check)
        lines.append(f"{marks[check.state]}  {finding.title}: {finding.found}")
        if finding.remedy:
            lines.append(f"    {finding.remedy}")
    return without_secrets("\n".join(lines))


def by_importance(checks: Iterable[Check]) -> list[Check]:
    """Checks that need action first, otherwise in their order."""
    order = (CheckState.BAD, CheckState.NOTICE, CheckState.GOOD)
    return sorted(checks, key=lambda check: order.index(check.state))
