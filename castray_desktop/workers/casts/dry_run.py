"""What a cast would send and to whom, without sending: the source scans, recipients may be asked."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable

from castray_desktop.core.failures.kinds import FailureKind
from castray_desktop.core.protocol.messages import PreflightReport, SendRequest
from castray_desktop.core.protocol.nodes.agent_protocol import ParcelTotals
from castray_desktop.workers.casts.session.cast_session import CastSession


class DryRuns:
    """`make(request)` makes a session that never sends; raises CastRayError for an invalid request.

    Reports for `sessions`, by id, must be passed to them; `forget(run)` lets agents release their resources.
    """

    def __init__(
        self, make: Callable[[SendRequest], CastSession], forget: Callable[[CastSession], None]
    ) -> None:
        self.sessions: dict[str, CastSession] = {}
        self._make = make
        self._forget = forget

    async def preflight(self, request: SendRequest) -> PreflightReport:
        """What a cast would send, and which recipients can't take it. Raises CastRayError."""
        async with self._run(request) as run:
            survey = await run.preflight.survey()
            removals = await run.preflight.removals(survey)
        if request.options.await_offline:
            survey = survey.without_failures(FailureKind.NODE_OFFLINE)
        return survey.report(run.status.recipients, removals)

    async def scan(self, request: SendRequest) -> ParcelTotals:
        """What a request would send. Only the source is asked. Raises CastRayError."""
        async with self._run(request) as run:
            return (await run.preflight.survey(ask=False)).totals

    async def snapshot(self, request: SendRequest) -> tuple[str, str, tuple[str, ...]]:
        """The digest of the manifest that would be sent now, with source and recipients.

        Nobody but the source is asked. Raises CastRayError.
        """
        async with self._run(request) as run:
            survey = await run.preflight.survey(ask=False)
        return survey.totals.manifest_digest, run.status.request.source, run.status.request.recipients

    @contextlib.asynccontextmanager
    async def _run(self, request: SendRequest) -> AsyncIterator[CastSession]:
        run = self._make(request)
        self.sessions[run.status.cast] = run
        try:
            yield run
        finally:
            del self.sessions[run.status.cast]
            self._forget(run)
