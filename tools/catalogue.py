"""The window's translations: `python -m tools.catalogue` brings the sources up to date and compiles them.

`resources/i18n/castray_*.ts` contain every text of the window: the texts that Qt's `lupdate` finds in the
code, and the sentences and values of `core.failures`, which are looked up in the context "Failure".
Translate a new text there by hand (in an editor or Qt Linguist), then run this again. `lupdate` and
`lrelease` are part of PySide6. With `--check` nothing is written; the status is 1 if something would be.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import PySide6

from castray_desktop.core.casts.multicast_status import MULTICAST_END_TEMPLATES as MULTICAST
from castray_desktop.core.failures.check_sentences import TEMPLATES as CHECKS
from castray_desktop.core.failures.sentences import SYSTEM_ERROR_TEXTS, TEMPLATES, TRANSLATABLE_VALUES
from castray_desktop.core.failures.short_reasons import NO_ROOM_FOR_FILES, SHORT_REASONS

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "resources" / "i18n"
LANGUAGES = ("zh_CN",)
TOOL_SECONDS = 60


@dataclass(frozen=True)
class Message:
    """A text and its translation; `state` is "" if it is finished, else "unfinished", "vanished" …"""

    context: str
    source: str
    translation: str
    state: str


def source(language: str) -> Path:
    """The file that translators work on."""
    return FOLDER / f"castray_{language}.ts"


def compiled(language: str) -> Path:
    """The file that the window loads."""
    return FOLDER / f"castray_{language}.qm"


def update(path: Path, language: str) -> None:
    """Add the texts of the code to the source at `path`, and remove texts that no longer exist."""
    code = sorted((ROOT / "castray_desktop" / "ui").rglob("*.py"))
    with tempfile.TemporaryDirectory() as folder:
        failures = Path(folder) / "failures.py"
        failures.write_text("\n".join(_failure_lines()), encoding="utf-8")
        options = ["-no-obsolete", "-locations", "none", "-silent"]
        languages = ["-source-language", "en_US", "-target-language", language]
        run("lupdate", *options, *languages, *map(str, [*code, failures]), "-ts", str(path))


def _failure_lines() -> Iterator[str]:
    """The templates of failures as calls that `lupdate` understands."""
    pairs = (*(template[1:] for template in TEMPLATES.values()), *MULTICAST.values())
    texts = [text for pair in pairs for text in pair if text]
    texts += [*SHORT_REASONS.values(), NO_ROOM_FOR_FILES]
    texts += [text for words in CHECKS.values() for text in words.texts()]
    for text in dict.fromkeys([*texts, *TRANSLATABLE_VALUES, *SYSTEM_ERROR_TEXTS]):
        yield f'translate("Failure", {json.dumps(text, ensure_ascii=False)})'


def compile_to(path: Path, language: str) -> None:
    """Compile a language's source to `path`."""
    run("lrelease", "-silent", str(source(language)), "-qm", str(path))


def run(tool: str, *arguments: str) -> None:
    """Run one of Qt's tools. Raises CalledProcessError."""
    program = Path(PySide6.__file__).parent / tool
    subprocess.run([str(program), *arguments], check=True, timeout=TOOL_SECONDS)


def messages(path: Path) -> list[Message]:
    """Everything in a translator's file."""
    found = []
    for context in ElementTree.parse(path).getroot().iter("context"):
        name = context.findtext("name", "")
        for message in context.iter("message"):
            translation = message.find("translation")
            text = "" if translation is None else translation.text or ""
            state = "unfinished" if translation is None else translation.get("type", "")
            found.append(Message(name, message.findtext("source", ""), text, state))
    return found


def stale(language: str) -> list[str]:
    """The names of the files that would change if everything were generated again."""
    with tempfile.TemporaryDirectory() as folder:
        text, binary = Path(folder) / "new.ts", Path(folder) / "new.qm"
        shutil.copy(source(language), text)
        update(text, language)
        compile_to(binary, language)
        same_text = messages(text) == messages(source(language))
        same_binary = binary.read_bytes() == compiled(language).read_bytes()
    names = {source(language).name: same_text, compiled(language).name: same_binary}
    return [name for name, same in names.items() if not same]


def main(*arguments: str) -> int:
    if "--check" in arguments:
        names = [name for language in LANGUAGES for name in stale(language)]
        sys.stdout.writelines(f"{name} is not up to date\n" for name in names)
        return 1 if names else 0
    for language in LANGUAGES:
        update(source(language), language)
        compile_to(compiled(language), language)
        missing = [message for message in messages(source(language)) if message.state]
        sys.stdout.writelines(f"{language}: {item.context}: {item.source}\n" for item in missing)
        if missing:
            sys.stdout.write(f"{language}: {len(missing)} texts are not translated yet\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
