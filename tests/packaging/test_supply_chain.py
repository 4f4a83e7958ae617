"""Licences of the locked packages, and the audit for known vulnerabilities with a played pip-audit."""

from __future__ import annotations

import datetime
import json
import re
import subprocess
from collections.abc import Sequence

import pytest

from tests.test_repository import LOCK, LOCKS, locked
from tools import audit, licences
from tools.audit import CLEAN, FOUND, NOT_ASKED, Explanation

ACCEPTED = frozenset(
    (
        *("0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "MIT", "MIT-0", "MPL-2.0"),
        *("PSF-2.0", "Zlib", "GPL-2.0-only", "GPL-3.0-only", "LGPL-3.0-only"),
    )
)
"""Under these a package may be used beside an Apache-2.0 program; Qt for Python under the LGPL."""

TODAY = datetime.date(2026, 12, 1)


# --- licences


def rows() -> list[tuple[str, str, str]]:
    """Package, versions and licence of each row of the page."""
    row = re.compile(r"^\| ([a-z0-9.-]+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
    return [found for found in row.findall(licences.PAGE.read_text()) if found[0] not in ("package", "---")]


def test_the_page_of_licences_covers_the_lock() -> None:
    listed = {name: versions.split(", ") for name, versions, _ in rows()}
    wanted: dict[str, set[str]] = {}
    for entry in locked(LOCK):
        (version,) = entry.requirement.specifier
        wanted.setdefault(entry.requirement.name, set()).add(version.version)
    assert {name: set(versions) for name, versions in listed.items()} == wanted


def test_the_page_of_licences_is_what_the_packages_say() -> None:
    assert licences.PAGE.read_text() == licences.page(), "run: python -m tools.licences"


def test_every_licence_is_an_accepted_one() -> None:
    named = {name: set(re.split(r" (?:AND|OR) ", text)) for name, _, text in rows()}
    assert len(named) > 60
    assert {name: found - ACCEPTED for name, found in named.items() if found - ACCEPTED} == {}
    copyleft = {name for name, found in named.items() if found & {"GPL-2.0-only", "GPL-3.0-only"}}
    assert all("LGPL-3.0-only" in named[name] for name in copyleft)


# --- the audit


def report(*vulnerable: dict[str, object], skipped: str = "") -> str:
    """What pip-audit prints about two packages."""
    first: dict[str, object] = {"name": "idna", "version": "3.20", "vulns": [*vulnerable]}
    second = {"name": "h11", "version": "0.16.0", "vulns": []}
    if skipped:
        second = {"name": "h11", "skip_reason": skipped}
    return json.dumps({"dependencies": [first, second], "fixes": []})


FLAW: dict[str, object] = {"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": ["3.21"], "description": ""}
KNOWN = Explanation("CVE-1", "idna", "3.20", "It needs X, which is not used.", datetime.date(2027, 1, 1))


def played(stdout: str, stderr: str = "") -> audit.Run:
    def run(arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
        assert [word for word in arguments if word.endswith(".lock")] == [str(lock) for lock in LOCKS]
        return subprocess.CompletedProcess(arguments, 1 if FLAW["id"] in stdout else 0, stdout, stderr)

    return run


def run_audit(stdout: str, *known: Explanation, stderr: str = "", today: datetime.date = TODAY) -> int:
    return audit.audit("osv", known=known, today=today, run=played(stdout, stderr))


def test_nothing_found(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_audit(report()) == CLEAN
    assert "0 findings" in capsys.readouterr().out


def test_a_finding_fails_and_says_what_fixes_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_audit(report(FLAW)) == FOUND
    assert "FOUND: idna 3.20: CVE-1, PYSEC-1; fixed in 3.21" in capsys.readouterr().out


def test_an_explained_finding_passes_until_it_expires(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_audit(report(FLAW), KNOWN) == CLEAN
    assert "explained until 2027-01-01: idna 3.20" in capsys.readouterr().out
    assert run_audit(report(FLAW), KNOWN, today=KNOWN.expires) == FOUND


def test_an_explanation_is_for_one_version_and_one_advisory() -> None:
    assert run_audit(report(FLAW), KNOWN._replace(version="3.19")) == FOUND
    assert run_audit(report(FLAW), KNOWN._replace(package="h11")) == FOUND
    assert run_audit(report(FLAW), KNOWN._replace(id="CVE-2")) == FOUND


@pytest.mark.parametrize("stdout", ["", "[]", "{}", report(skipped="Dependency not found")])
def test_an_audit_that_could_not_ask_says_so(stdout: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_audit(stdout, stderr="warning\nno route to host\n") == NOT_ASKED
    said = capsys.readouterr().out
    assert "NOT DONE" in said
    assert ("Dependency not found" if "skip" in stdout else "no route to host") in said


def test_the_known_findings_are_about_locked_versions() -> None:
    pins = {
        (entry.requirement.name, next(iter(entry.requirement.specifier)).version) for entry in locked(*LOCKS)
    }
    for known in audit.explanations():
        assert (known.package, known.version) in pins, f"{known.id} is about another version: remove it"
        assert len(known.why) > 20
        assert isinstance(known.expires, datetime.date)
