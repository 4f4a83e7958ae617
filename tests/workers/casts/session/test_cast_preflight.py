"""The events of a survey for a client."""

from __future__ import annotations

from castray_desktop.core.failures.kinds import Failure, FailureKind
from castray_desktop.core.protocol.messages import UnsentFile
from castray_desktop.core.protocol.nodes.agent_orders import DestinationReply
from castray_desktop.core.protocol.nodes.cast_parcel import FileProblem, ParcelTotals
from castray_desktop.workers.casts.session.cast_preflight import RecipientSurvey

TOTALS = ParcelTotals(
    100,
    "m",
    10,
    33,
    1,
    3,
    followed_links=4,
    kept_links=2,
    broken_links=1,
    broken_names=("top/dead",),
    left_out=2,
)
LOCKED = Failure(FailureKind.NOT_READABLE, {"path": "/data/top/locked", "user": "ada"})


def test_what_can_not_be_sent_and_links_that_lead_nowhere_are_named() -> None:
    survey = RecipientSurvey(TOTALS, {"a": DestinationReply()}, (FileProblem("top/locked", LOCKED),))
    for found in (survey, survey.without_failures(FailureKind.NODE_OFFLINE)):
        report = found.report(("a",))
        assert report.problems == ()
        assert report.left_out == (UnsentFile("top/locked", LOCKED),)
        assert report.left_out_count == 2
        assert (report.followed_links, report.kept_links, report.broken_links) == (4, 2, 1)
        assert report.broken_names == ("top/dead",)
