"""`castray doctor`: everything that casts need, with what to do about it."""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sys

from castray_desktop.cli import text
from castray_desktop.cli.arguments import EXIT_DELIVERED, EXIT_NOT_DELIVERED
from castray_desktop.cli.session import Session
from castray_desktop.core import messages
from castray_desktop.core.checks import explain_check, without_secrets, worst
from castray_desktop.core.failure import CastRayError, FailureKind
from castray_desktop.core.messages import Check, CheckState
from castray_desktop.workers import local_checks

_MARKS = {CheckState.GOOD: "ok", CheckState.NOTICE: "note", CheckState.BAD: "BAD"}


async def doctor(options: argparse.Namespace) -> int:
    """Look at all of it and print it; the status is 1 if something is wrong."""
    try:
        checks = await _by_engine(options.cluster)
    except CastRayError as error:
        if error.failure.kind not in (FailureKind.ENGINE_UNREACHABLE, FailureKind.ENGINE_VERSION):
            raise
        checks = await _without_engine(error)
    if options.json:
        text.print_json([_object(check) for check in checks])
    else:
        _print(checks)
    return EXIT_NOT_DELIVERED if worst(checks) is CheckState.BAD else EXIT_DELIVERED


async def _by_engine(target: str | None) -> tuple[Check, ...]:
    """What the engine finds, with a cluster if one can be had. Raises CastRayError."""
    failed: Check | None = None
    async with Session() as session:
        try:
            await session.ready(target)
        except CastRayError as error:
            if error.failure.kind is FailureKind.ENGINE_UNREACHABLE:
                raise
            values = error.failure.values | {"because": error.failure.kind.value}
            failed = Check("cluster", CheckState.BAD, values=values)
        print("Looking …", file=sys.stderr, flush=True)
        job = secrets.token_hex(6)
        try:
            found = await session.client.request(messages.Diagnose(job), messages.Diagnosis)
        except asyncio.CancelledError:
            await session.client.request(messages.CancelDiagnosis(job), messages.Done)
            raise
    if failed is None:
        return found.checks
    return tuple(failed if check.kind == "cluster" else check for check in found.checks)


async def _without_engine(error: CastRayError) -> tuple[Check, ...]:
    """What can be seen from here."""
    values = error.failure.values | {"because": error.failure.kind.value}
    qt, fonts = await asyncio.gather(local_checks.qt_check(), local_checks.fonts_check())
    return (
        local_checks.castray_check(),
        Check("engine", CheckState.BAD, values=values),
        local_checks.data_ports_check(),
        local_checks.display_check(),
        qt,
        fonts,
    )


def _object(check: Check) -> dict[str, object]:
    finding = explain_check(check)
    return {
        "kind": check.kind,
        "state": check.state.value,
        "node": check.node or None,
        "text": without_secrets(finding.found),
        "remedy": without_secrets(finding.remedy) or None,
    }


def _print(checks: tuple[Check, ...]) -> None:
    for check in checks:
        finding = explain_check(check)
        print(f"{_MARKS[check.state]:>4}  {without_secrets(finding.found)}")
        if finding.remedy:
            print(f"      {without_secrets(finding.remedy)}")
