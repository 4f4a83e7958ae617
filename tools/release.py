"""Make a release from the commit that is checked out: `./castray release [FOLDER]`.

Writes to `dist/`, or FOLDER: the wheel, the source archive, a bill of materials (CycloneDX) and
`SHA256SUMS`. The archive, unpacked elsewhere, must build both files again with the same bytes. Both are
checked, and installed into empty environments with the versions of the lock, none of which may have a known
vulnerability that is not explained. There `castray` tells its version, checks the computer, and casts a file
to three nodes, whose copies are compared with it. Nothing is uploaded.
"""

from __future__ import annotations

import argparse
import datetime
import filecmp
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
from collections.abc import Mapping, Sequence
from pathlib import Path

import castray_desktop
from tools.audit import CLEAN, FOUND, NOT_ASKED, audit, explanations

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
SHARE = ROOT / "resources" / "share"
BOM = f"castray_desktop-{castray_desktop.__version__}.cdx.json"
PAYLOAD_BYTES = 20_000_000
STEP_SECONDS = 900


class ReleaseError(Exception):
    """A release that can't be made, with a sentence."""


def release(folder: Path, *, allow_changes: bool = False, audited: bool = True) -> None:
    """Make the release; with `audited` only if the advisory service has answered. Raises ReleaseError."""
    if not allow_changes and _output(["git", "status", "--porcelain"]):
        raise ReleaseError("the tree has changes that are not committed")
    _check_version()
    _say("look for known vulnerabilities")
    vulnerabilities = audit("osv", known=explanations(), today=datetime.datetime.now(datetime.UTC).date())
    if vulnerabilities == FOUND:
        raise ReleaseError("a locked package has a known vulnerability")
    if vulnerabilities == NOT_ASKED and audited:
        raise ReleaseError("the advisory service has not answered; --not-audited makes the release without")
    environment = os.environ | {"SOURCE_DATE_EPOCH": _output(["git", "log", "-1", "--format=%ct"])}
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="castray-release-") as name:
        scratch = Path(name)
        _say("build")
        wheel, archive = build(ROOT, folder, environment)
        _say("build again from the archive, and compare")
        _check_reproducible(wheel, archive, scratch, environment)
        _say("check")
        check(wheel, archive)
        _say("install the archive")
        _try_version(_environment(scratch / "from-archive", archive))
        _say("install the wheel")
        python = _environment(scratch / "from-wheel", wheel)
        _try_version(python)
        _try_cast(python.parent / "castray", scratch)
        _say("write the bill of materials and the checksums")
        _write_bill(python, folder / BOM, environment)
    write_sums(folder)
    _say(f"done: {folder}{'' if vulnerabilities == CLEAN else ', NOT AUDITED for known vulnerabilities'}")


def build(source: Path, folder: Path, environment: Mapping[str, str]) -> tuple[Path, Path]:
    """Build wheel and source archive of the tree `source`; returns their paths."""
    _run(
        [sys.executable, "-P", "-m", "hatchling", "build", "-d", folder], cwd=source, environment=environment
    )
    (wheel,), (archive,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return wheel, archive


def check(wheel: Path, archive: Path) -> None:
    """Let the tools of package indexes and desktops check what was built. Raises ReleaseError."""
    _run([sys.executable, "-P", "-m", "twine", "check", "--strict", wheel, archive])
    _run([sys.executable, "-P", "-m", "check_wheel_contents", "--config", ROOT / "pyproject.toml", wheel])
    _run([sys.executable, "-P", "-m", "validate_pyproject", ROOT / "pyproject.toml"])
    commands: tuple[list[str | Path], ...] = (
        ["desktop-file-validate", *(SHARE / "applications").iterdir()],
        ["appstreamcli", "validate", "--no-net", *(SHARE / "metainfo").iterdir()],
    )
    for command in commands:
        if shutil.which(str(command[0])):
            _run(command)
        else:
            _say(f"not checked, since it is not installed: {command[0]}")


def write_sums(folder: Path) -> None:
    """Write `SHA256SUMS`, as `sha256sum --check` reads it."""
    lines = [
        f"{_digest(path)}  {path.name}\n" for path in sorted(folder.iterdir()) if path.name != "SHA256SUMS"
    ]
    (folder / "SHA256SUMS").write_text("".join(lines))


def pins(lock: Path) -> str:
    """The versions of a lock without their hashes, as constraints."""
    return "".join(
        f"{pin.strip()}\n" for pin in re.findall(r"^[a-z0-9][^\\\n]*", lock.read_text(), re.MULTILINE)
    )


def _check_version() -> None:
    """The changelog and the data for desktops must tell of this version."""
    version = castray_desktop.__version__
    if f"## [{version}]" not in (ROOT / "CHANGELOG.md").read_text():
        raise ReleaseError(f"CHANGELOG.md has no part for {version}")
    (metainfo,) = (SHARE / "metainfo").iterdir()
    if f'version="{version}"' not in metainfo.read_text():
        raise ReleaseError(f"{metainfo.name} has no release {version}")


def _check_reproducible(wheel: Path, archive: Path, scratch: Path, environment: Mapping[str, str]) -> None:
    with tarfile.open(archive) as packed:
        packed.extractall(scratch / "source", filter="data")
    (source,) = (scratch / "source").iterdir()
    again = build(source, scratch / "again", environment)
    for first, second in zip((wheel, archive), again, strict=True):
        if _digest(first) != _digest(second):
            raise ReleaseError(f"{first.name} has other bytes when it is built again")


def _environment(folder: Path, package: Path) -> Path:
    """An empty environment with this package, without extras; returns its interpreter."""
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    constraints = folder / "constraints.txt"
    constraints.write_text(pins(LOCK))
    pip: list[str | Path] = [
        sys.executable,
        "-P",
        "-m",
        "pip",
        "--python",
        python,
        "--disable-pip-version-check",
        "--quiet",
    ]
    _run([*pip, "install", "--constraint", constraints, package])
    _run([*pip, "check"])
    return python


def _try_version(python: Path) -> None:
    said = _output([python.parent / "castray", "--version"], cwd=python.parent)
    if said != f"castray {castray_desktop.__version__}":
        raise ReleaseError(f"the installed program says: {said}")


def _try_cast(castray: Path, scratch: Path) -> None:
    """Cast a file to three nodes of a cluster of its own, and compare the copies."""
    payload = scratch / "payload.bin"
    payload.write_bytes(os.urandom(PAYLOAD_BYTES))
    arrived = scratch / "arrived"
    ours = ("CASTRAY_", "PYTHON", "RAY_", "VIRTUAL_ENV")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    # The path of the engine's socket must be short.
    with tempfile.TemporaryDirectory(prefix="castray-") as home:
        environment["CASTRAY_HOME"] = home
        recipients = "node_1,node_2,node_3"
        send: list[str | Path] = [
            "send",
            payload,
            "--cluster",
            "local",
            "--to",
            recipients,
            "--dest",
            arrived / "{node}",
        ]
        try:
            _say("start a cluster")
            _run([castray, "engine", "start", "--cluster", "local"], environment=environment)
            _say("check the computer")
            _run([castray, "doctor"], environment=environment)
            _say("cast to three nodes")
            _run([castray, *send], environment=environment)
        finally:
            subprocess.run([castray, "engine", "stop"], env=environment, check=False, capture_output=True)
    copies = [arrived / node / payload.name for node in recipients.split(",")]
    if not all(copy.is_file() and filecmp.cmp(payload, copy, shallow=False) for copy in copies):
        raise ReleaseError(f"a copy in {arrived} is not what was sent")


def _write_bill(python: Path, file: Path, environment: Mapping[str, str]) -> None:
    """List everything that was installed with the wheel, with versions and licences."""
    _run(
        [
            *(
                sys.executable,
                "-P",
                "-m",
                "cyclonedx_py",
                "environment",
                "--output-reproducible",
                "--of",
                "JSON",
            ),
            *("--pyproject", ROOT / "pyproject.toml", "--output-file", file, python),
        ],
        environment=environment,
    )
    listed = {component["name"].lower() for component in json.loads(file.read_text())["components"]}
    if not {"ray", "msgspec", "blake3"} <= listed:
        raise ReleaseError(f"{file.name} lists {len(listed)} packages, and not those that are needed")


def _run(
    command: list[str | Path], *, cwd: Path = ROOT, environment: Mapping[str, str] | None = None
) -> None:
    """Run a command. If it fails, its output is shown, and ReleaseError raised."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=STEP_SECONDS,
    )
    if done.returncode:
        print(done.stdout, file=sys.stderr)
        raise ReleaseError(f"{Path(str(command[0])).name} ended with status {done.returncode}: {command}")


def _output(command: Sequence[str | Path], cwd: Path = ROOT) -> str:
    return subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, check=True, timeout=STEP_SECONDS
    ).stdout.strip()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _say(what: str) -> None:
    print(f"release: {what}", flush=True)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="castray release", description="Make a release of this commit.")
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "dist", help="where to write (dist)")
    parser.add_argument("--allow-changes", action="store_true", help="do not insist on a clean tree")
    parser.add_argument("--not-audited", action="store_true", help="the advisory service need not answer")
    options = parser.parse_args(arguments)
    try:
        release(
            options.folder.absolute(),
            allow_changes=options.allow_changes,
            audited=not options.not_audited,
        )
    except ReleaseError as error:
        print(f"release: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
