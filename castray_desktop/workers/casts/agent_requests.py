"""What agents ask for in their reports: a new cast, or that an upstream dials them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

from castray_desktop.core.casts.transfer_options import TransferOptions
from castray_desktop.core.failures.kinds import CastRayError
from castray_desktop.core.failures.sentences import sentence
from castray_desktop.core.protocol.messages import SendRequest, TransportOption
from castray_desktop.core.protocol.nodes import agent_protocol
from castray_desktop.workers.agent.repeated_log_lines import RepeatedLogLines
from castray_desktop.workers.casts.session.agent_orders import AgentDirectory

ANSWER_SECONDS = 15.0

log = logging.getLogger("castray.cast")


class AgentCastRequests:
    """Starts casts that agents request in their reports."""

    def __init__(self, agents: AgentDirectory, send: Callable[[SendRequest], str]) -> None:
        self._agents = agents
        self._send = send
        self._chores: set[asyncio.Task[None]] = set()

    def start_cast(self, node: str, asked: agent_protocol.TransferRequest) -> None:
        """Start a cast from that node and send its agent the id, or why it was refused."""
        request = SendRequest(
            asked.paths,
            asked.recipients,
            source=node,
            leave_out=True,
            options=TransferOptions(transport=TransportOption(asked.transport)),
        )
        try:
            answer = agent_protocol.AnswerTransfer(asked.number, self._send(request))
        except CastRayError as error:
            log.warning("%s asked for a cast: %s", node, sentence(error.failure))
            answer = agent_protocol.AnswerTransfer(asked.number, refusal=sentence(error.failure))
        chore = asyncio.create_task(self._tell(node, answer), name=f"answer {node}")
        self._chores.add(chore)
        chore.add_done_callback(self._chores.discard)

    def close(self) -> None:
        """Cancel pending replies."""
        for chore in self._chores:
            chore.cancel()

    async def _tell(self, node: str, answer: agent_protocol.AnswerTransfer) -> None:
        with contextlib.suppress(CastRayError, TimeoutError):  # the agent has ended, and its caller
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._agents.call(node, answer)


DIAL_ORDER_SECONDS = 5.0


class ReverseDialRequests:
    """Forwards each reverse-dial request of recipients once."""

    def __init__(self, agents: AgentDirectory) -> None:
        self._agents = agents
        self._asked: dict[tuple[str, str], int] = {}
        self._asking = RepeatedLogLines(log, logging.INFO, "cast %s: %s is to dial %s")
        self._chores: set[asyncio.Task[None]] = set()

    def delivery_reported(self, node: str, report: agent_protocol.DeliveryReport) -> None:
        """Handle a recipient's report, which may request a reverse dial."""
        key = report.cast, node
        if report.asked == self._asked.get(key, 0) or report.state in agent_protocol.FINAL_RECIPIENT_STATES:
            return
        self._asked[key] = report.asked  # fewer than before: it has a new agent
        if not report.asked_upstream:
            return
        chore = asyncio.create_task(self._reach(node, report), name=f"{report.asked_upstream} dials {node}")
        self._chores.add(chore)
        chore.add_done_callback(self._chores.discard)

    def forget_cast(self, cast: str) -> None:
        """Forget an ended cast."""
        for key in [key for key in self._asked if key[0] == cast]:
            del self._asked[key]

    def close(self) -> None:
        """End what is under way."""
        for chore in self._chores:
            chore.cancel()

    async def _reach(self, node: str, report: agent_protocol.DeliveryReport) -> None:
        self._asking.log(report.cast, report.asked_upstream, node)
        with contextlib.suppress(
            CastRayError, TimeoutError
        ):  # the recipient asks again, or finds another way
            hello = self._agents.hello(node)
            order = agent_protocol.DialRecipient(report.cast, report.epoch, node, hello.address, hello.port)
            async with asyncio.timeout(DIAL_ORDER_SECONDS):
                await self._agents.call(report.asked_upstream, order)
