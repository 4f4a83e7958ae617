"""The site of the documents: it is built without a warning, its links lead somewhere, it loads nothing from
elsewhere, and its references name everything.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from castray_desktop.cli.command_line import command_names, command_parser
from castray_desktop.python import Cluster
from tools import manual
from tools.reference_pages import command_page, http_document, http_page, python_page

ROOT = Path(__file__).resolve().parent.parent

LOADS = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "srcset"}
"""What a browser fetches by itself, by tag."""


class Page(HTMLParser):
    """The anchors and addresses of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag in LOADS and LOADS[tag] in values:
            self.loaded.append(values[LOADS[tag]])


def broken_links(site: Path) -> list[str]:
    """Links and files of the pages that lead nowhere within the site, and files that come from elsewhere."""
    pages = {path: Page(path.read_text()) for path in site.rglob("*.html")}
    broken = []
    for path, page in pages.items():
        for target in page.loaded + page.links:
            address = urlsplit(target)
            if address.scheme or address.netloc:
                if target in page.loaded and address.scheme != "data":
                    broken.append(f"{path.relative_to(site)} loads {target}")
                continue
            found = (path.parent / unquote(address.path)).resolve() if address.path else path
            anchors = pages[found].anchors if found in pages else {""}
            if not found.is_file() or (
                address.fragment and unquote(address.fragment) not in anchors | {"", "#"}
            ):
                broken.append(f"{path.relative_to(site)}: {target}")
    return broken


@pytest.mark.slow
@pytest.mark.timeout(180)  # 13 seconds of a processor
def test_the_site_is_built_and_its_links_lead_somewhere(tmp_path: Path) -> None:
    site = tmp_path / "site"
    command = [sys.executable, "-P", "-m", "tools.docs", str(site)]
    variables = os.environ | {"PYTHONPATH": str(ROOT)}
    built = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    assert (site / "docs" / "decisions" / "0001-relay-chain.html").is_file()
    assert broken_links(site) == []


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text('<a href="b.html#two"></a><a href="#one"></a><img src="c.png">')
    (tmp_path / "b.html").write_text(
        '<p id="one"></p><a href="a.html"></a><a href="https://example.org/x"></a>'
        '<script src="https://example.org/x.js"></script>'
    )
    assert sorted(broken_links(tmp_path)) == [
        "a.html: #one",
        "a.html: b.html#two",
        "a.html: c.png",
        "b.html loads https://example.org/x.js",
    ]


def test_the_command_reference_has_every_command_and_option() -> None:
    page = command_page()
    parser = command_parser()
    missing = [name for name in command_names(parser) if f"\n## castray {name}\n" not in page]
    for command in manual.commands(parser):
        section = page.partition(f"\n## {command.prog}\n")[2].partition("\n## ")[0]
        actions: list[argparse.Action] = list(manual.visible_actions(command))
        missing += [
            f"{command.prog} {name}"
            for action in actions
            for name in action.option_strings
            if f"`{name}" not in section
        ]
    assert missing == []


def test_the_http_reference_has_every_request_and_object() -> None:
    document = http_document()
    page = http_page(document)
    requests = [
        f"\n### {method.upper()} {path}\n"
        for path, methods in document["paths"].items()
        for method in methods
    ]
    objects = [f"\n### {name}\n" for name in document["components"]["schemas"]]
    assert len(requests) > 30
    assert [title for title in requests + objects if title not in page] == []


def test_the_python_reference_has_every_public_method() -> None:
    page = python_page()
    methods = [name for name in vars(Cluster) if not name.startswith("_")]
    assert len(methods) > 10
    assert [name for name in methods if f"{{py:method}} {name}(" not in page] == []
