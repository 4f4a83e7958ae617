"""`castray doctor`: check everything that casts need, and print remedies."""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sys

from castray_desktop.cli.arguments import (
    EXIT_DELIVERED,
    EXIT_NOT_DELIVERED,
    Commands,
    add_command,
)
from castray_desktop.cli.output.terminal import output_style, print_json
from castray_desktop.cli.session import Session
from castray_desktop.core.casts.json_views import check_form, form_to_json
from castray_desktop.core.failures.check_sentences import explain_check, worst
from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.core.failures.redaction import without_secrets
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import Check, CheckState
from castray_desktop.workers.diagnostics import local_checks

_MARKS = {CheckState.GOOD: "ok", CheckState.NOTICE: "note", CheckState.BAD: "BAD"}


def add_parsers(commands: Commands) -> None:
    """Add `doctor`."""
    add_command(
        commands,
        "doctor",
        "diagnose problems and suggest fixes",
        """
        castray doctor
        castray doctor --cluster 10.0.0.1:6379 --json
        """,
        handler=doctor,
        uses_cluster=True,
    )


async def doctor(options: argparse.Namespace) -> int:
    """Run all checks and print them; the status is 1 if one of them failed."""
    try:
        checks = await _checks_of_engine(options.cluster)
    except CastRayError as error:
        if error.failure.kind not in (FailureKind.ENGINE_UNREACHABLE, FailureKind.ENGINE_VERSION):
            raise
        checks = await _checks_without_engine(error)
    if options.json:
        print_json([form_to_json(check_form(check)) for check in checks])
    else:
        print_checks(checks)
    return EXIT_NOT_DELIVERED if worst(checks) is CheckState.BAD else EXIT_DELIVERED


async def _checks_of_engine(target: str | None) -> tuple[Check, ...]:
    """The checks of the engine, with its cluster if that can be used. Raises CastRayError."""
    failed: Check | None = None
    async with Session() as session:
        try:
            await session.ready(target)
        except CastRayError as error:
            if error.failure.kind is FailureKind.ENGINE_UNREACHABLE:
                raise
            failed = local_checks.failed_check("cluster", error.failure)
        if output_style().shows_progress:
            print("Checking …", file=sys.stderr, flush=True)
        job = secrets.token_hex(6)
        try:
            found = await session.client.request(messages.Diagnose(job), messages.Diagnosis)
        except asyncio.CancelledError:
            await session.client.request(messages.CancelDiagnosis(job), messages.Done)
            raise
    if failed is None:
        return found.checks
    return tuple(failed if check.kind == "cluster" else check for check in found.checks)


async def _checks_without_engine(error: CastRayError) -> tuple[Check, ...]:
    """The checks that this process can make itself."""
    return (
        local_checks.castray_check(),
        local_checks.failed_check("engine", error.failure),
        local_checks.data_ports_check(),
        *await local_checks.window_checks(),
    )


def print_checks(checks: tuple[Check, ...]) -> None:
    """Print each check with its remedy."""
    for check in checks:
        finding = explain_check(check)
        print(f"{_MARKS[check.state]:>4}  {without_secrets(finding.found)}")
        if finding.remedy:
            print(f"      {without_secrets(finding.remedy)}")
