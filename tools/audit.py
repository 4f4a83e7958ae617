"""Ask for known vulnerabilities of every locked package: `./castray audit`.

Runs pip-audit on the locks. Findings that `tools/known_findings.toml` explains, and whose explanation has
not expired, are listed and pass. Exit status: 0 if nothing else was found, 1 if something was, and 75 if the
advisory service has not answered for every package: then nothing is known, and the last line says so.
"""

from __future__ import annotations

import argparse
import datetime
import json
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
LOCKS = tuple(
    ROOT / name for name in ("requirements.lock", "requirements-test.lock", "requirements-release.lock")
)
KNOWN = ROOT / "tools" / "known_findings.toml"
CLEAN, FOUND, NOT_ASKED = 0, 1, 75
SECONDS = 900


class Finding(NamedTuple):
    """An advisory about a locked version."""

    package: str
    version: str
    ids: frozenset[str]  # its own and its aliases
    fixed_in: tuple[str, ...]


class Explanation(NamedTuple):
    """Why an advisory needs no update, until when."""

    id: str
    package: str
    version: str
    why: str
    expires: datetime.date

    def explains(self, finding: Finding, today: datetime.date) -> bool:
        same = (self.package, self.version) == (finding.package, finding.version)
        return same and self.id in finding.ids and today < self.expires


class NotAskedError(Exception):
    """The advisory service did not answer; the text says why."""


def explanations(file: Path = KNOWN) -> list[Explanation]:
    """The explained findings. Raises TypeError for an entry with a missing or unknown key."""
    return [Explanation(**entry) for entry in tomllib.loads(file.read_text()).get("finding", ())]


def run_pip_audit(arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run pip-audit; its report is on stdout."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "pip_audit", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )


Run = Callable[[Sequence[str]], subprocess.CompletedProcess[str]]


def ask(locks: Iterable[Path], service: str, run: Run) -> list[Finding]:
    """The findings for all packages of the locks. Raises NotAskedError."""
    words = [word for lock in locks for word in ("--requirement", str(lock))]
    options = ["--no-deps", "--disable-pip", "--format", "json", "--progress-spinner", "off"]
    done = run([*words, *options, "--vulnerability-service", service])
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, LookupError, TypeError):
        last_line = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
        raise NotAskedError(last_line) from None
    skipped = [package["skip_reason"] for package in packages if "skip_reason" in package]
    if skipped:
        raise NotAskedError(f"{len(skipped)} of {len(packages)} packages: {skipped[0]}")
    return [
        Finding(
            package["name"],
            package["version"],
            frozenset((found["id"], *found["aliases"])),
            tuple(found["fix_versions"]),
        )
        for package in packages
        for found in package["vulns"]
    ]


def audit(
    service: str,
    *,
    known: Iterable[Explanation],
    today: datetime.date,
    run: Run = run_pip_audit,
) -> int:
    """Ask, print what was found, and return the exit status."""
    known = list(known)
    try:
        findings = ask(LOCKS, service, run)
    except NotAskedError as error:
        _say(f"NOT DONE: the advisory service {service} has not answered: {error}")
        return NOT_ASKED
    status = CLEAN
    for finding in findings:
        text = f"{finding.package} {finding.version}: {', '.join(sorted(finding.ids))}"
        why = next((item for item in known if item.explains(finding, today)), None)
        if why is not None:
            _say(f"explained until {why.expires}: {text}: {why.why}")
        else:
            status = FOUND
            _say(f"FOUND: {text}; fixed in {', '.join(finding.fixed_in) or 'no version'}")
    _say(f"{len(findings)} findings, {'all explained' if status == CLEAN else 'not all explained'}")
    return status


def _say(what: str) -> None:
    print(f"audit: {what}", flush=True)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="castray audit", description="Look for known vulnerabilities.")
    parser.add_argument("--service", choices=("pypi", "osv"), default="osv", help="whom to ask (osv)")
    options = parser.parse_args(arguments)
    today = datetime.datetime.now(datetime.UTC).date()
    return audit(options.service, known=explanations(), today=today)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
