"""The sentences of a catalogue, and what has changed in them since a revision: which are new, gone, worded or
translated differently. `python -m tools.catalogue --changes REVISION` prints that.
"""

from __future__ import annotations

import enum
import subprocess
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path

SIMILAR = 0.6
"""The ratio of `difflib` from which on two sentences of a context are one that was changed."""

HEADINGS = ("Change", "Context", "English before", "English now", "Translation before", "Translation now")


@dataclass(frozen=True)
class CatalogueMessage:
    """A text and its translation; `state` is "" if it is finished, else "unfinished", "vanished" …"""

    context: str
    source: str
    translation: str
    state: str


def messages(path: Path) -> list[CatalogueMessage]:
    """Everything in a translator's file."""
    found = []
    for context in ElementTree.parse(path).getroot().iter("context"):
        name = context.findtext("name", "")
        for message in context.iter("message"):
            translation = message.find("translation")
            text = "" if translation is None else translation.text or ""
            state = "unfinished" if translation is None else translation.get("type", "")
            found.append(CatalogueMessage(name, message.findtext("source", ""), text, state))
    return found


class ChangeKind(enum.Enum):
    """What happened to a sentence, in the order of the table."""

    CHANGED = "changed"
    MOVED = "moved"
    TRANSLATED = "translation"
    NEW = "new"
    GONE = "gone"


@dataclass(frozen=True)
class SentenceChange:
    """One row. `before` or `now` is None for a sentence that is new or gone."""

    kind: ChangeKind
    before: CatalogueMessage | None
    now: CatalogueMessage | None

    @property
    def context(self) -> str:
        """The context; both, if the sentence has moved."""
        names = dict.fromkeys(item.context for item in (self.before, self.now) if item is not None)
        return " → ".join(names)

    def cells(self) -> tuple[str, ...]:
        before, now = self.before, self.now
        return (
            self.kind.value,
            self.context,
            before.source if before else "",
            now.source if now and not (before and before.source == now.source) else "",
            before.translation if before else "",
            now.translation if now and not (before and before.translation == now.translation) else "",
        )


def messages_at(revision: str, path: Path) -> list[CatalogueMessage]:
    """A catalogue as it was in a git revision; empty if it was not there.

    Raises ValueError for an unknown revision.
    """
    folder, name = path.parent, path.name
    if _git(folder, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}") is None:
        raise ValueError(f"{revision} is not a revision of this repository")
    content = _git(folder, "show", f"{revision}:./{name}")
    if content is None:
        return []
    with tempfile.TemporaryDirectory() as temporary:
        then = Path(temporary) / name
        then.write_bytes(content)
        return messages(then)


def _git(folder: Path, *words: str) -> bytes | None:
    """What git prints; None if it fails."""
    done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, check=False)
    return done.stdout if done.returncode == 0 else None


def compare(before: Iterable[CatalogueMessage], now: Iterable[CatalogueMessage]) -> list[SentenceChange]:
    """The changes, in the order of the table."""
    old = {(item.context, item.source): item for item in before}
    new = {(item.context, item.source): item for item in now}
    found = [
        SentenceChange(ChangeKind.TRANSLATED, old[key], new[key])
        for key in old.keys() & new.keys()
        if old[key].translation != new[key].translation
    ]
    gone = [old[key] for key in sorted(old.keys() - new.keys())]
    added = [new[key] for key in sorted(new.keys() - old.keys())]
    for kind, pairs in ((ChangeKind.CHANGED, _similar), (ChangeKind.MOVED, _equal)):
        for left, right in pairs(gone, added):
            found.append(SentenceChange(kind, left, right))
            gone.remove(left)
            added.remove(right)
    found += [SentenceChange(ChangeKind.GONE, item, None) for item in gone]
    found += [SentenceChange(ChangeKind.NEW, None, item) for item in added]
    order = list(ChangeKind)
    return sorted(found, key=lambda change: (order.index(change.kind), change.context, change.cells()))


def _similar(
    gone: Sequence[CatalogueMessage], added: Sequence[CatalogueMessage]
) -> list[tuple[CatalogueMessage, CatalogueMessage]]:
    """Pairs of similar sentences of one context, each sentence once, the most similar ones first."""
    rated = []
    for left in gone:
        matcher = SequenceMatcher(None, b=left.source, autojunk=False)
        for right in (item for item in added if item.context == left.context):
            matcher.set_seq1(right.source)
            bounds = (matcher.real_quick_ratio, matcher.quick_ratio)
            if all(bound() >= SIMILAR for bound in bounds) and (ratio := matcher.ratio()) >= SIMILAR:
                rated.append((-ratio, left.context, left.source, right.source, left, right))
    rated.sort(key=lambda item: item[:4])
    pairs: list[tuple[CatalogueMessage, CatalogueMessage]] = []
    taken: set[CatalogueMessage] = set()
    for *_, left, right in rated:
        if not {left, right} & taken:
            taken |= {left, right}
            pairs.append((left, right))
    return pairs


def _equal(
    gone: Sequence[CatalogueMessage], added: Sequence[CatalogueMessage]
) -> list[tuple[CatalogueMessage, CatalogueMessage]]:
    """Pairs of one sentence in two contexts."""
    left_over = list(added)
    pairs = []
    for left in gone:
        right = next((item for item in left_over if item.source == left.source), None)
        if right is not None:
            left_over.remove(right)
            pairs.append((left, right))
    return pairs


def table(changes: Sequence[SentenceChange]) -> Iterator[str]:
    """The lines of a Markdown table. A text that has not changed is in the column *before* alone."""
    yield _line(HEADINGS)
    yield _line(["---"] * len(HEADINGS))
    for change in changes:
        yield _line(change.cells())


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|').replace(chr(10), '↵') for cell in cells)} |"
