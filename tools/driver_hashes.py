"""Renew the hashes for the installation of driver environments.

    python -m tools.driver_hashes 2.40.0 2.49.2 ...

Adds these versions of Ray to `workers/clusters/driver_hashes.json`, and renews what all of them need.
Needs uv.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys

from castray_desktop.workers.clusters.driver_environments import (
    FAST_HASHES,
    HASHES_FILE,
    KnownHashes,
    known_hashes,
)

OLDEST_PYTHON = "3.9"
EXTRAS = "client"


def main(versions: list[str]) -> None:
    """Write the file."""
    known = known_hashes()
    rays = dict(known.rays)
    for version in versions:
        (rays[version],) = compiled(f"ray=={version}", "--no-deps").values()
    ordered = {version: rays[version] for version in sorted(rays, key=_numbers)}
    packages: dict[str, list[str]] = {}
    for version in (next(iter(ordered)), next(reversed(ordered))):
        found = compiled("\n".join((f"ray[{EXTRAS}]=={version}", *FAST_HASHES)))
        there = {"ray", *map(_name, packages)}
        packages |= {line: hashes for line, hashes in found.items() if _name(line) not in there}
    file = KnownHashes(ordered, dict(sorted(packages.items())))
    HASHES_FILE.write_text(json.dumps({"rays": file.rays, "packages": file.packages}, indent=0) + "\n")
    sys.stdout.write(
        f"{len(ordered)} versions of Ray, {len(packages)} packages, {HASHES_FILE.stat().st_size} bytes\n"
    )


def compiled(requirements: str, *options: str) -> dict[str, list[str]]:
    """The packages that uv selects for the oldest Python that has all of them, with their files' hashes."""
    command = ["uv", "pip", "compile", "--quiet", "--universal", "--no-header", "--no-annotate"]
    command += ["--generate-hashes", "--no-emit-index-url", "--no-strip-extras", *options, "-"]
    for python in (OLDEST_PYTHON, "3.10", "3.11"):
        done = subprocess.run(
            [*command, "--python-version", python],
            input=requirements,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode == 0:
            lines = re.sub(r"\\\n\s*", "", done.stdout).splitlines()
            split = [line.partition("--hash=") for line in lines if line.strip()]
            return {
                line.strip().replace(f"[{EXTRAS}]", ""): re.findall(r"sha256:(\w+)", rest)
                for line, _, rest in split
            }
    raise SystemExit(done.stderr)


def _name(requirement: str) -> str:
    return requirement.partition("==")[0]


def _numbers(version: str) -> list[int]:
    return [int(number) for number in version.split(".")]


if __name__ == "__main__":
    main(sys.argv[1:])
