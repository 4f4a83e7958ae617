"""List the packages that the program is installed with, and their licences: `python -m tools.licences`.

Writes `docs/licences.md`. The versions are those of `requirements.lock`, the licences what the installed
packages say of themselves, as SPDX expressions.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "licences.md"

HEAD = """# Licences

CastRay Desktop is Apache-2.0, see [LICENSE](../LICENSE); the fonts, icons and pages that it contains are in
[resources/README.md](../resources/README.md). The table lists the packages of `requirements.lock`, which
`./castray` installs beside it and which are not part of it. Each contains its licence.
`python -m tools.licences` makes this page; a release has the same as a bill of materials (CycloneDX).

| package | version | licence |
| --- | --- | --- |
"""

SPDX = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache 2.0": "Apache-2.0",
    "Apache License, Version 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD": "BSD-2-Clause",  # pyasn1-modules, by its text
    "BSD License": "BSD-3-Clause",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
"""The other words in which packages name their licences."""

_EXPRESSION = re.compile(r"[A-Za-z0-9.+-]+( (AND|OR|WITH) [A-Za-z0-9.+-]+)*")
_PIN = re.compile(r"^([a-z0-9][a-z0-9.-]*)==([^ ;\\]+)", re.MULTILINE)


def locked_versions() -> dict[str, list[str]]:
    """The versions of each package in the lock; some depend on the version of Python."""
    versions: dict[str, list[str]] = defaultdict(list)
    for name, version in _PIN.findall((ROOT / "requirements.lock").read_text()):
        versions[name].append(version)
    return dict(versions)


def licence_of(name: str) -> str:
    """The licence of an installed package. Raises LookupError if it names none that is known."""
    facts = metadata.metadata(name)
    first_line, *_ = [*(facts.get("License") or "").splitlines(), ""]
    classifiers = [text for text in facts.get_all("Classifier", []) if text.startswith("License ::")]
    said = [facts.get("License-Expression") or "", first_line]
    said += [text.rpartition(" :: ")[2] for text in classifiers]
    for words in said:
        if words in SPDX:
            return SPDX[words]
        if _EXPRESSION.fullmatch(words):
            return words
    raise LookupError(f"{name} says of its licence: {said}. Add it to SPDX.")


def page() -> str:
    """The text of the page."""
    rows = (
        f"| {name} | {', '.join(sorted(versions))} | {licence_of(name)} |\n"
        for name, versions in sorted(locked_versions().items())
    )
    return HEAD + "".join(rows)


def main() -> int:
    PAGE.write_text(page())
    print(f"{PAGE.relative_to(ROOT)}: {len(locked_versions())} packages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
