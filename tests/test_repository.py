"""Rules for the repository as a whole: its lock file, its resources, and forbidden contents."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import castray_desktop

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
TEST_LOCK, RELEASE_LOCK = ROOT / "requirements-test.lock", ROOT / "requirements-release.lock"
LOCKS = (LOCK, TEST_LOCK, RELEASE_LOCK)


class Locked(NamedTuple):
    requirement: Requirement
    hashes: list[str]


def locked(*locks: Path) -> list[Locked]:
    text = re.sub(r"\\\n\s*", " ", "".join(lock.read_text() for lock in locks))
    lines = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    return [
        Locked(Requirement(line.partition(" --hash")[0]), re.findall(r"--hash=(\S+)", line)) for line in lines
    ]


def chosen(name: str, python: str, *locks: Path) -> str:
    """The version of a package that these locks select for `python`, such as 3.11.2, on Linux."""
    environment = {
        **default_environment(),
        "python_full_version": python,
        "python_version": python.rpartition(".")[0],
    }
    (version,) = {
        next(iter(entry.requirement.specifier)).version
        for entry in locked(*locks)
        if canonicalize_name(entry.requirement.name) == canonicalize_name(name)
        and (entry.requirement.marker is None or entry.requirement.marker.evaluate(environment))
    }
    return version


def tracked_files() -> list[Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a clone")
    names = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=20
    ).stdout
    return [ROOT / name for name in names.split("\0") if name and (ROOT / name).is_file()]


def test_no_file_names_a_package_registry() -> None:
    hosts = re.compile(
        rb"\b(?:%s)\b"
        % b"|".join(
            re.escape(name + b"." + end)
            for name, end in [
                (b"pypi", b"org"),
                (b"pythonhosted", b"org"),
                (b"npmjs", b"org"),
                (b"npmjs", b"com"),
                (b"deb.debian", b"org"),
                (b"archive.ubuntu", b"com"),
            ]
        )
    )
    guilty = [str(path.relative_to(ROOT)) for path in tracked_files() if hosts.search(path.read_bytes())]
    assert guilty == []


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_has_a_hash_for_every_package_and_no_address(lock: Path) -> None:
    entries = locked(lock)
    assert len(entries) > 25
    assert [str(entry.requirement) for entry in entries if not entry.hashes] == []
    assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", digest) for entry in entries for digest in entry.hashes)
    assert all(str(entry.requirement.specifier).startswith("==") for entry in entries)
    assert "://" not in lock.read_text()
    assert "--index-url" not in lock.read_text()


def test_no_package_is_in_two_locks() -> None:
    """Each version has one owner: a lock has what it adds to those before."""
    names = [name for lock in LOCKS for name in {entry.requirement.name for entry in locked(lock)}]
    assert sorted(name for name in set(names) if names.count(name) > 1) == []


@pytest.mark.parametrize("python", ["3.11.2", "3.12.0", "3.13.0"])
def test_the_locks_satisfy_every_declared_range(python: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    environment = {**default_environment(), "python_version": python.rpartition(".")[0]}

    def check(texts: list[str], *locks: Path) -> None:
        for text in texts:
            declared = Requirement(text)
            if declared.marker is None or declared.marker.evaluate(environment):
                version = chosen(declared.name, python, *locks)
                assert declared.specifier.contains(version), f"{text}: locked is {version}"

    check(project["dependencies"] + extras["window"] + extras["serve"], LOCK)
    check(extras["test"] + extras["docs"], LOCK, TEST_LOCK)
    check(extras["release"], *LOCKS)


def test_python_3_11_gets_a_pyside6_that_keeps_count_of_none() -> None:
    assert chosen("pyside6-essentials", "3.11.2", LOCK) == "6.11.3"
    assert chosen("shiboken6", "3.11.2", LOCK) == "6.11.3"


def test_the_changelog_tells_of_this_version() -> None:
    assert f"## [{castray_desktop.__version__}]" in (ROOT / "CHANGELOG.md").read_text()


def test_fonts_and_icons_carry_their_licences() -> None:
    resources = ROOT / "resources"
    assert "SIL OPEN FONT LICENSE" in (resources / "fonts/OFL.txt").read_text()
    assert "ISC License" in (resources / "icons/LICENSE").read_text()
    named = {"fonts", "icons", "i18n", "castray.svg", "castray-256.png", "README.md"}
    overview = (resources / "README.md").read_text()
    for path in resources.iterdir():
        assert path.name in named or f"`{path.name}" in overview, f"{path.name} is not in resources/README.md"


def test_every_icon_can_be_tinted() -> None:
    icons = sorted((ROOT / "resources/icons").glob("*.svg"))
    assert len(icons) > 50
    assert [icon.name for icon in icons if 'stroke="currentColor"' not in icon.read_text()] == []
