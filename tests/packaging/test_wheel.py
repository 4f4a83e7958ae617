"""The wheel and the source archive: complete, with current metadata, the same bytes each time."""

from __future__ import annotations

import email
import email.message
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import pytest

import castray_desktop
from castray_desktop.cli.command_line import command_parser

ROOT = Path(__file__).resolve().parent.parent.parent
SHARE = ROOT / "resources" / "share"
METAINFO = SHARE / "metainfo" / "io.github.castray_desktop.castray.metainfo.xml"

pytestmark = pytest.mark.timeout(120)


def build(source: Path, folder: Path) -> tuple[Path, Path]:
    """Build the wheel and the source archive of the tree in `source`."""
    subprocess.run(
        [sys.executable, "-P", "-m", "hatchling", "build", "-d", folder],
        cwd=source,
        env=os.environ | {"SOURCE_DATE_EPOCH": "1700000000"},
        check=True,
        capture_output=True,
        timeout=100,
    )
    (wheel,), (archive,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return wheel, archive


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return build(ROOT, tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def wheel(built: tuple[Path, Path]) -> zipfile.ZipFile:
    return zipfile.ZipFile(built[0])


def metadata(wheel: zipfile.ZipFile) -> email.message.Message:
    (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    return email.message_from_bytes(wheel.read(name))


def test_the_archive_builds_the_same_wheel(built: tuple[Path, Path], tmp_path: Path) -> None:
    wheel, archive = built
    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path / "source", filter="data")
    (source,) = (tmp_path / "source").iterdir()
    again = build(source, tmp_path / "dist")
    assert [digest(path) for path in again] == [digest(wheel), digest(archive)]


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_wheel_has_all_modules_and_resources(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "castray_desktop").rglob("*.py")}
    resources = {
        f"castray_desktop/{path.relative_to(ROOT)}"
        for path in (ROOT / "resources").rglob("*")
        if path.is_file()
    }
    assert len(resources) > 80
    assert (modules | resources | {"castray_desktop/py.typed"}) - names == set()


def test_the_wheel_has_what_desktops_and_shells_look_for(wheel: zipfile.ZipFile) -> None:
    shared = {name.partition(".data/data/")[2] for name in wheel.namelist() if ".data/data/" in name}
    assert shared == {
        "share/applications/castray.desktop",
        "share/icons/hicolor/256x256/apps/castray.png",
        "share/icons/hicolor/scalable/apps/castray.svg",
        f"share/metainfo/{METAINFO.name}",
        "share/man/man1/castray.1",
        "share/systemd/user/castray-engine.service",
        "share/systemd/user/castray-serve.service",
        "share/bash-completion/completions/castray",
        "share/zsh/site-functions/_castray",
        "share/fish/vendor_completions.d/castray.fish",
    }


def test_the_metadata_is_complete(wheel: zipfile.ZipFile) -> None:
    found = metadata(wheel)
    assert found["Metadata-Version"] >= "2.4"
    assert found["License-Expression"].startswith("Apache-2.0 AND ")
    assert found["Author"] == "CastRay Desktop contributors"
    urls = dict(value.split(", ") for value in found.get_all("Project-URL"))
    assert {"Homepage", "Documentation", "Source", "Issues", "Changelog"} == set(urls)
    assert set(found.get_all("Provides-Extra")) >= {"window", "serve"}
    licences = {name.rpartition("licenses/")[2] for name in wheel.namelist() if "/licenses/" in name}
    assert licences == set(found.get_all("License-File"))


def test_its_page_needs_nothing_of_the_repository(wheel: zipfile.ZipFile) -> None:
    found = metadata(wheel)
    page = str(found.get_payload())
    assert found["Description-Content-Type"] == "text/markdown"
    assert "![" not in page
    targets = re.findall(r"\]\(([^)]*)\)", page)
    assert targets
    assert [target for target in targets if not target.startswith("https://")] == []


def test_the_appstream_data_is_that_of_this_version() -> None:
    component = ElementTree.parse(METAINFO).getroot()
    assert component.findtext("id") == METAINFO.name.removesuffix(".metainfo.xml")
    assert component.findtext("launchable") == "castray.desktop"
    release = component.find("releases/release")
    assert release is not None
    assert release.get("version") == castray_desktop.__version__
    assert component.findtext("summary") == command_parser().description.removesuffix(".")


@pytest.mark.parametrize(
    "command",
    [
        ["desktop-file-validate", SHARE / "applications" / "castray.desktop"],
        ["appstreamcli", "validate", "--no-net", METAINFO],
    ],
    ids=lambda command: command[0],
)
def test_the_tools_of_desktops_accept_it(command: list[str | Path]) -> None:
    if shutil.which(str(command[0])) is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"needs {command[0]}")
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stdout
    assert "error" not in done.stdout.lower()


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_by_the_installed_file(tmp_path: Path) -> None:
    program = tmp_path / "castray"
    program.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m castray_desktop "$@"\n')
    program.chmod(0o755)
    file = SHARE / "bash-completion" / "completions" / "castray"
    done = subprocess.run(
        ["bash", "--norc", "-c", f'source "{file}"; complete -p castray'],
        env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.stdout.endswith("-F _python_argcomplete castray\n"), done.stderr
