"""What a cast would be, without one: the source is scanned, and the recipients may be asked."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable

from castray_desktop.core.failure import FailureKind
from castray_desktop.core.messages import PreflightReport, SendRequest
from castray_desktop.workers.casts.cast_run import CastRun
from castray_desktop.workers.ray_side.protocol import ParcelTotals


class Surveys:
    """`make(request)` makes a run that is no cast, and raises CastRayError when that makes no sense.

    Reports for those in `runs`, by their ids, are to be handed to them; `forget(run)` has the agents free
    what they hold.
    """

    def __init__(self, make: Callable[[SendRequest], CastRun], forget: Callable[[CastRun], None]) -> None:
        self.runs: dict[str, CastRun] = {}
        self._make = make
        self._forget = forget

    async def preflight(self, request: SendRequest) -> PreflightReport:
        """What a cast would be and who could not take it. Raises CastRayError."""
        async with self._run(request) as run:
            survey = await run.beginning.survey()
            removals = await run.beginning.removals(survey)
        if request.await_offline:
            survey = survey.without(FailureKind.NODE_OFFLINE)
        return survey.report(run.ledger.recipients, removals)

    async def scan(self, request: SendRequest) -> ParcelTotals:
        """What a request would send. Nobody but the source is asked. Raises CastRayError."""
        async with self._run(request) as run:
            return (await run.beginning.survey(ask=False)).totals

    async def look(self, request: SendRequest) -> tuple[str, str, tuple[str, ...]]:
        """What would be sent now, as the digest of its manifest; the names of source and recipients.

        Nobody but the source is asked. Raises CastRayError.
        """
        async with self._run(request) as run:
            survey = await run.beginning.survey(ask=False)
        return survey.totals.manifest_digest, run.ledger.request.source, run.ledger.request.recipients

    @contextlib.asynccontextmanager
    async def _run(self, request: SendRequest) -> AsyncIterator[CastRun]:
        run = self._make(request)
        self.runs[run.ledger.cast] = run
        try:
            yield run
        finally:
            del self.runs[run.ledger.cast]
            self._forget(run)
