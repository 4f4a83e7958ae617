"""Links come from the engine in batches: ahead of use, before they expire, and when they are refused."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from castray_desktop.core.protocol.nodes.agent_orders import FileLink, GiveLinks
from castray_desktop.core.protocol.nodes.agent_reports import LinkRequest
from castray_desktop.core.protocol.nodes.cast_parcel import RemoteFile
from castray_desktop.workers.agent.transfer.source import remote_links
from castray_desktop.workers.agent.transfer.source.range_client import LinkRefusedError, RemoteLink
from castray_desktop.workers.agent.transfer.source.remote_links import MAX_BATCHES, RemoteLinks
from tests.helpers.patience import PATIENCE

FIRST = 5
"""Number of the first file of a store; those before are of a web server."""


class Engine:
    """Notes what is asked for, and answers when the test says so."""

    def __init__(self, count: int = 100) -> None:
        self.asked = threading.Semaphore(0)
        self.links = RemoteLinks(self.asked.release)
        web = {number: RemoteFile(f"web{number}", f"https://host/{number}", 1) for number in range(FIRST)}
        stored = {
            FIRST + number: RemoteFile(f"{number}", "", 1, address=f"s3://bucket/{number}")
            for number in range(count)
        }
        self.links.set_files(web | stored)

    def give(self, number: int, first: int, count: int, seconds: float = 0.0) -> None:
        links = tuple(
            FileLink(f"https://store/{position}?{number}") for position in range(first, first + count)
        )
        self.links.give(GiveLinks("c", number, first, links, seconds))

    def get(self, position: int, refused: LinkRefusedError | None = None) -> str:
        link = self.links.get(FIRST + position, refused)
        assert link is not None
        return link.url.removeprefix("https://store/")

    def await_request(self, request: LinkRequest) -> None:
        """Wait until this is what is asked for."""
        while self.links.wanted != request:
            assert self.asked.acquire(timeout=PATIENCE)


def refusal(number: int) -> LinkRefusedError:
    return LinkRefusedError("the server answers 403 Forbidden", number)


def test_a_file_of_a_web_server_has_its_own_link() -> None:
    engine = Engine()
    assert engine.links.get(2) == RemoteLink("https://host/2")
    assert engine.links.wanted is None


def test_a_link_that_is_not_there_is_asked_for_and_awaited() -> None:
    engine = Engine()
    with ThreadPoolExecutor() as pool:
        found = [pool.submit(engine.get, position) for position in (0, 3)]
        assert engine.asked.acquire(timeout=PATIENCE)
        request = engine.links.wanted
        assert request is not None
        assert request in (LinkRequest(1, 0), LinkRequest(1, 3))
        engine.give(1, 0, 10)
        assert [future.result() for future in found] == ["0?1", "3?1"]
    assert engine.links.wanted is None


def test_the_next_batch_is_asked_for_in_the_middle_of_one() -> None:
    engine = Engine(count=20)
    engine.give(1, 0, 10)
    assert engine.get(4) == "4?1"
    assert engine.links.wanted is None
    assert engine.get(5) == "5?1"
    assert engine.links.wanted == LinkRequest(2, 10, urgent=False)
    engine.get(6)
    assert engine.links.wanted == LinkRequest(2, 10, urgent=False)  # once
    engine.give(2, 10, 10)
    assert engine.get(19) == "19?2"
    assert engine.links.wanted is None  # these are the last ones


def test_a_request_becomes_urgent() -> None:
    """The engine may have tried it in vain, or its answer is on its way."""
    engine = Engine()
    engine.give(1, 0, 10)
    engine.get(9)
    assert engine.links.wanted == LinkRequest(2, 10, urgent=False)
    with ThreadPoolExecutor() as pool:
        found = pool.submit(engine.get, 12)
        engine.await_request(LinkRequest(2, 10))
        engine.give(2, 10, 10)
        assert found.result() == "12?2"
    assert engine.links.wanted is None


def test_a_request_for_what_comes_before_is_another_one() -> None:
    engine = Engine()
    engine.give(1, 20, 10)
    engine.get(29)
    assert engine.links.wanted == LinkRequest(2, 30, urgent=False)
    with ThreadPoolExecutor() as pool:
        found = pool.submit(engine.get, 3)
        engine.await_request(LinkRequest(3, 3))
        engine.give(2, 30, 10)
        engine.give(3, 3, 10)
        assert found.result() == "3?3"


def test_an_unanswered_request_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine()
    engine.give(1, 0, 10)
    engine.get(9)
    monkeypatch.setattr(remote_links, "ASK_SECONDS", 0.0)
    engine.get(9)
    assert engine.links.wanted == LinkRequest(3, 10, urgent=False)
    engine.give(2, 10, 10)  # the answer to the first one after all
    assert engine.get(10) == "10?2"


def test_links_are_renewed_once_half_of_their_time_has_passed() -> None:
    engine = Engine()
    engine.give(1, 0, 10, seconds=3600)
    engine.get(2)
    assert engine.links.wanted is None
    engine.give(2, 0, 10, seconds=1e-9)
    assert engine.get(2) == "2?2"  # it is still good
    assert engine.links.wanted == LinkRequest(3, 2, urgent=False)
    engine.give(3, 2, 10, seconds=3600)
    assert engine.get(2) == "2?3"
    assert engine.get(1) == "1?2"  # of these the newest is that one


def test_a_refused_link_is_renewed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine()
    engine.give(1, 0, 10)
    with ThreadPoolExecutor() as pool:
        found = pool.submit(engine.get, 2, refusal(1))
        assert engine.asked.acquire(timeout=PATIENCE)
        while engine.links.wanted is None:
            assert engine.asked.acquire(timeout=PATIENCE)
        assert engine.links.wanted == LinkRequest(2, 0)  # all of the batch
        engine.give(2, 0, 10)
        assert found.result() == "2?2"
    assert engine.get(2, refusal(1)) == "2?2"  # another thread, whose link was refused before
    with pytest.raises(LinkRefusedError, match="403"):
        engine.get(2, refusal(2))
    with pytest.raises(LinkRefusedError, match="403"):  # nor does each file of the batch cost a renewal
        engine.get(3, refusal(2))
    monkeypatch.setattr(remote_links, "FRESH_SECONDS", 0.0)
    monkeypatch.setattr(remote_links, "RENEWAL_SECONDS", 0.0)
    with pytest.raises(LinkRefusedError):  # nobody renews it
        engine.get(2, refusal(2))


def test_only_the_last_batches_are_kept() -> None:
    engine = Engine()
    for number in range(MAX_BATCHES):
        engine.give(number + 1, number * 10, 10)
    engine.get(1)  # it is used
    engine.give(MAX_BATCHES + 1, MAX_BATCHES * 10, 10)
    assert engine.get(2) == "2?1"
    with ThreadPoolExecutor() as pool:
        gone = pool.submit(engine.links.get, FIRST + 12)
        while engine.links.wanted is None:
            assert engine.asked.acquire(timeout=PATIENCE)
        assert engine.links.wanted.first == 12
        engine.links.stop()
        assert gone.result() is None
