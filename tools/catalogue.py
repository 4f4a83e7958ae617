"""The window's translations: `python -m tools.catalogue` brings the sources up to date and compiles them.

`resources/i18n/castray_*.ts` contain every text of the window: the texts that Qt's `lupdate` finds in the
code, the sentences and values of `core.failures`, which are looked up in the context "Failure", and those of
`core.routing.download_nodes`, in the context "Placement".
Translate a new text there by hand (in an editor or Qt Linguist), then run this again. `lupdate` and
`lrelease` are part of PySide6. With `--check` nothing is written; the status is 1 if something would be.
`--changes REVISION` prints what has changed in them since that git revision, and writes nothing.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import PySide6

from castray_desktop.core.casts.multicast_status import MULTICAST_END_TEMPLATES as MULTICAST
from castray_desktop.core.failures.check_sentences import TEMPLATES as CHECKS
from castray_desktop.core.failures.sentences import SYSTEM_ERROR_TEXTS, TEMPLATES, TRANSLATABLE_VALUES
from castray_desktop.core.failures.short_reasons import NO_ROOM_FOR_FILES, SHORT_REASONS
from castray_desktop.core.routing.download_nodes import NOT_REACHED, PLACEMENT_TEMPLATES
from tools.catalogue_messages import compare, messages, messages_at, table

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "resources" / "i18n"
LANGUAGES = ("zh_CN",)
TOOL_SECONDS = 60


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
    """The templates of failures, and why a node downloads, as calls that `lupdate` understands."""
    pairs = (*(template[1:] for template in TEMPLATES.values()), *MULTICAST.values())
    texts = [text for pair in pairs for text in pair if text]
    texts += [*SHORT_REASONS.values(), NO_ROOM_FOR_FILES]
    texts += [text for words in CHECKS.values() for text in words.texts()]
    for text in dict.fromkeys([*texts, *TRANSLATABLE_VALUES, *SYSTEM_ERROR_TEXTS]):
        yield f'translate("Failure", {json.dumps(text, ensure_ascii=False)})'
    for text in (*PLACEMENT_TEMPLATES.values(), NOT_REACHED):
        yield f'translate("Placement", {json.dumps(text, ensure_ascii=False)})'


def compile_to(path: Path, language: str) -> None:
    """Compile a language's source to `path`."""
    run("lrelease", "-silent", str(source(language)), "-qm", str(path))


def run(tool: str, *arguments: str) -> None:
    """Run one of Qt's tools. Raises CalledProcessError."""
    program = Path(PySide6.__file__).parent / tool
    subprocess.run([str(program), *arguments], check=True, timeout=TOOL_SECONDS)


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


def print_changes(revision: str) -> int:
    """Print a table for each language; 2 for an unknown revision."""
    for language in LANGUAGES:
        path = source(language)
        try:
            changes = compare(messages_at(revision, path), messages(path))
        except ValueError as error:
            sys.stderr.write(f"{error}\n")
            return 2
        sys.stdout.write(f"{language}: {len(changes)} changes since {revision}\n\n")
        sys.stdout.writelines(f"{line}\n" for line in table(changes))
    return 0


def main(*arguments: str) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true")
    what.add_argument("--changes", metavar="REVISION")
    options = parser.parse_args(arguments)
    if options.changes is not None:
        return print_changes(options.changes)
    if options.check:
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
