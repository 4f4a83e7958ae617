"""Make the site of the documents: user guide, references, architecture and decisions.

    python -m tools.docs [FOLDER]

Writes `build/site`, or FOLDER; `index.html` is the first page. Works without a network. A warning of Sphinx,
such as a link that leads nowhere, is an error. The pages are the Markdown files of the repository, and three
references that are made from the code (`tools/reference_pages.py`).
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tools.reference_pages import command_page, http_document, http_page, python_page

ROOT = Path(__file__).resolve().parent.parent
SITE = ROOT / "build" / "site"

SECTIONS = {
    "Use": (
        "docs/installing",
        "docs/user-guide",
        "docs/command-reference",
        "docs/recipes",
        "docs/containers",
    ),
    "From programs": ("docs/api", "docs/python-reference", "docs/http-reference"),
    "How it works": (
        "docs/guarantees",
        "docs/architecture",
        "docs/cast-rules",
        "docs/timeouts-and-recovery",
        "docs/fault-matrix",
        "docs/state-files",
        "docs/protocol",
        "docs/benchmarks",
        "docs/decisions/index",
    ),
    "Project": (
        "简体中文 <README.zh-CN>",
        "CONTRIBUTING",
        "SECURITY",
        "docs/licences",
        "CHANGELOG",
        "docs/index",
        "resources/index",
    ),
}
"""The pages in the order of the navigation. Documents that are not named here follow those of *Use*."""

_README = re.compile(r"(?<=\]\()((?:[\w./-]*/)?)README\.md(?=[)#])")


def collect(stage: Path) -> None:
    """Copy the pages to an empty folder, in the tree of the repository, and write the references there."""
    for pattern in ("*.md", "LICENSE", "docs/*.md", "docs/decisions/*.md", "resources/*.md"):
        for path in ROOT.glob(pattern):
            page = stage / path.relative_to(ROOT)
            if path.name == "README.md":
                page = page.with_name("index.md")  # the page that a folder's address opens
            page.parent.mkdir(parents=True, exist_ok=True)
            page.write_text(_README.sub(r"\1index.md", path.read_text()))
    for folder in ("docs/images", "deploy"):  # pictures, and files that readers download
        shutil.copytree(ROOT / folder, stage / folder)

    document = http_document()
    pages = stage / "docs"
    (pages / "openapi.json").write_text(json.dumps(document, ensure_ascii=False, indent=1))
    (pages / "http-reference.md").write_text(http_page(document))
    (pages / "command-reference.md").write_text(command_page())
    (pages / "python-reference.md").write_text(python_page())
    decisions = sorted(path.stem for path in (pages / "decisions").glob("*.md"))
    (pages / "decisions" / "index.md").write_text(
        "# Decisions\n\nOne page each: what was weighed, what was chosen, and what was measured.\n\n"
        + _toctree("", decisions)
    )
    with (stage / "index.md").open("a") as index:
        index.write("\n" + "".join(_toctree(title, names) for title, names in _navigation(stage).items()))


def _navigation(stage: Path) -> dict[str, list[str]]:
    sections = {title: list(names) for title, names in SECTIONS.items()}
    named = {name.rpartition("<")[2].rstrip(">") for names in sections.values() for name in names}
    found = {str(path.relative_to(stage).with_suffix("")) for path in stage.rglob("*.md")}
    others = {name for name in found - named - {"index"} if not name.startswith("docs/decisions/")}
    sections["Use"] += sorted(others)
    return sections


def _toctree(title: str, names: list[str]) -> str:
    caption = f":caption: {title}\n:hidden:\n" if title else ":maxdepth: 1\n"
    return "```{toctree}\n" + caption + "\n" + "\n".join(names) + "\n```\n\n"


def build(site: Path) -> int:
    """Make the site in this folder, and return Sphinx' exit status."""
    with tempfile.TemporaryDirectory(prefix="castray-docs-") as place:
        stage = Path(place) / "pages"
        stage.mkdir()
        collect(stage)
        options = ["-W", "--keep-going", "-q", "-E", "-j", "auto", "-c", str(ROOT / "docs")]
        folders = ["-d", str(Path(place) / "doctrees"), str(stage), str(site)]
        command = [sys.executable, "-m", "sphinx", "-b", "html", *options, *folders]
        return subprocess.run(command, cwd=ROOT, check=False).returncode


def main(arguments: list[str]) -> int:
    site = Path(arguments[0]).resolve() if arguments else SITE
    status = build(site)
    if status == 0:
        sys.stderr.write(f"See {site / 'index.html'}\n")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
