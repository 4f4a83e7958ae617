"""Fuzz one, some or all targets.

    python -m tests.fuzz [TARGET ...] [--seconds N] [--inputs N] [--seed N] [--list] [--atheris]

The built-in engine mutates samples that the real encoders made. With --atheris, libFuzzer guides the
mutations by coverage; install atheris first.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.fuzz_target import FINDINGS, FuzzTarget, fuzz, kept_inputs, opened, read_input, save_findings


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.partition("\n")[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    parser.add_argument("--seconds", type=float, default=0.0, help="for each target")
    parser.add_argument("--inputs", type=int, default=0, help="for each target")
    parser.add_argument(
        "--seed", type=int, default=int(time.time() // 86400), help="default: the number of the day"
    )
    parser.add_argument("--list", action="store_true", help="list the targets")
    parser.add_argument("--atheris", action="store_true", help="mutations guided by coverage")
    parser.add_argument("--atheris-child", default="", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.atheris_child:
        _run_atheris(given.atheris_child, given.targets[0], given.inputs, given.seconds, given.seed)
        return 0
    from tests.fuzz.targets import TARGETS

    unknown = [name for name in given.targets if name not in TARGETS]
    if unknown:
        parser.error(f"no target {unknown[0]}; there are {', '.join(TARGETS)}")
    if given.list:
        for target in TARGETS.values():
            sys.stdout.write(f"{target.name:<22} {target.reads}\n")
        return 0
    if not given.seconds and not given.inputs:
        given.seconds = 2.0
    status = 0
    for name in given.targets or TARGETS:
        if given.atheris:
            status |= _start_atheris(TARGETS[name], given)
            continue
        run = fuzz(TARGETS[name], given.seed, inputs=given.inputs, seconds=given.seconds)
        sys.stdout.write(f"{run}\n")
        for what, path in zip(run.findings, save_findings(run), strict=True):
            status = 1
            sys.stdout.write(f"    {what}: {path}\n")
        sys.stdout.flush()
    return status


def _start_atheris(target: FuzzTarget, given: argparse.Namespace) -> int:
    """libFuzzer ends its process, so each target has one."""
    with tempfile.TemporaryDirectory(prefix="castray-corpus-") as corpus:
        for number, data in enumerate((*target.samples(), *kept_inputs(target.name))):
            (Path(corpus) / f"sample-{number}").write_bytes(data)
        command = [sys.executable, "-m", "tests.fuzz", target.name, "--atheris-child", corpus]
        command += ["--inputs", str(given.inputs), "--seconds", str(given.seconds), "--seed", str(given.seed)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = done.stderr.splitlines()
    last = [line for line in lines if line.startswith(("#", "Done ")) or "cov:" in line][-2:]
    sys.stdout.write(f"{target.name:<22} {'; '.join(last)}\n")
    if done.returncode:
        sys.stdout.write("\n".join(lines[-25:]) + "\n")
    sys.stdout.flush()
    return int(done.returncode != 0)


def _run_atheris(corpus: str, name: str, inputs: int, seconds: float, seed: int) -> None:
    import atheris  # type: ignore[import-not-found,unused-ignore]

    with atheris.instrument_imports(include=["castray_desktop"]):
        from tests.fuzz.targets import TARGETS
    target = TARGETS[name]
    folder = FINDINGS / name
    folder.mkdir(parents=True, exist_ok=True)
    options = [
        f"-artifact_prefix={folder}/",
        f"-seed={seed}",
        "-max_len=4096",
        "-rss_limit_mb=3000",
        "-timeout=10",
    ]
    options += [f"-runs={inputs}"] * bool(inputs) + [f"-max_total_time={int(seconds)}"] * bool(seconds)
    with opened(target) as parse:
        atheris.Setup([sys.argv[0], *options, corpus], lambda data: read_input(target, parse, data) and None)
        atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
