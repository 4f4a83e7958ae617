"""The log files as lines: parsed, merged, without secrets, followed."""

from __future__ import annotations

import asyncio
import logging
import shutil
from pathlib import Path

from castray_desktop.core.protocol.messages import LogLine
from castray_desktop.workers.engine.client_connections import ClientConnection
from castray_desktop.workers.engine.log_tail import LogTail, parse_log, read_log

ENGINE = """\
2026-11-24 10:00:00,250 INFO castray.engine no client for 5 seconds
2026-11-24 10:00:02,000 ERROR castray.engine Send
Traceback (most recent call last):
ValueError: no
"""
DRIVER = """\
2026-11-24 10:00:01,000 WARNING castray.driver agent a did not stop: late
\x1b[36m(NodeAgent pid=42, ip=10.0.0.7)\x1b[0m a connection could not be accepted: too many
"""


def test_lines_have_a_time_a_level_and_an_origin() -> None:
    first, second = parse_log(ENGINE.splitlines(), "engine")
    assert (first.level, first.origin, first.text) == ("info", "engine", "no client for 5 seconds")
    assert first.at % 1 == 0.25
    assert second.level == "error"
    assert second.text.splitlines() == ["Send", "Traceback (most recent call last):", "ValueError: no"]


def test_what_ray_passes_on_from_an_agent_is_a_warning_of_that_agent() -> None:
    driver, agent = parse_log(DRIVER.splitlines(), "driver")
    assert (agent.level, agent.origin) == ("warning", "agent 10.0.0.7")
    assert agent.text == "a connection could not be accepted: too many"
    assert agent.at == driver.at


def test_both_logs_are_one_list_in_order(tmp_path: Path) -> None:
    (tmp_path / "engine.log").write_text(ENGINE)
    (tmp_path / "driver.log").write_text(DRIVER)
    lines = read_log(tmp_path, 100)
    assert [line.origin for line in lines] == ["engine", "driver", "agent 10.0.0.7", "engine"]
    assert [line.origin for line in read_log(tmp_path, 1)] == ["engine"]


def test_a_log_that_was_renamed_is_read_before_the_new_one(tmp_path: Path) -> None:
    (tmp_path / "engine.log.1").write_text("2026-11-24 09:00:00,000 INFO castray.engine old\n")
    (tmp_path / "engine.log").write_text(ENGINE)
    assert read_log(tmp_path, 100)[0].text == "old"


def test_no_log_at_all_is_no_line(tmp_path: Path) -> None:
    assert read_log(tmp_path / "nowhere", 10) == ()


def test_lines_are_without_secrets() -> None:
    (line,) = parse_log(["2026-01-02 03:04:05,678 INFO castray.x Authorization: Bearer abcdef"], "engine")
    assert line.text.endswith("Authorization: Bearer …")


async def test_the_engines_own_lines_and_the_drivers_file_are_followed(tmp_path: Path) -> None:
    told: list[LogLine] = []
    watched = True
    tail = LogTail(tmp_path, told.append, lambda: watched)
    (tmp_path / "driver.log").write_text("from before\n")
    logger = logging.getLogger("castray.engine")
    tail.start()
    try:
        logger.warning("something %s", "odd")
        with (tmp_path / "driver.log").open("a") as file:
            file.write(DRIVER + "half a line")
        tail.poll()
        await asyncio.sleep(0)
        assert [line.text for line in told if line.origin == "engine"] == ["something odd"]
        assert [line.origin for line in told if line.origin != "engine"] == ["driver", "agent 10.0.0.7"]
        with (tmp_path / "driver.log").open("a") as file:
            file.write(" and its end\n")
        tail.poll()
        assert told[-1].text == "half a line and its end"
        watched = False
        logger.warning("nobody hears this")
        await asyncio.sleep(0)
        assert told[-1].text == "half a line and its end"
    finally:
        await tail.stop()
    assert tail not in logging.getLogger().handlers


async def test_a_file_that_can_not_be_read_is_tried_again(tmp_path: Path) -> None:
    told: list[LogLine] = []
    tail = LogTail(tmp_path, told.append, lambda: True)
    driver = tmp_path / "driver.log"
    driver.mkdir()
    (driver / "name").touch()
    tail.poll()
    shutil.rmtree(driver)
    driver.write_text(DRIVER)
    tail.poll()
    assert [line.origin for line in told] == ["driver", "agent 10.0.0.7"]


class Writer:
    """The part of a StreamWriter that a client uses."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.transport = self

    def write(self, frame: bytes) -> None:
        self.frames.append(frame)

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False


def test_a_client_gets_the_lines_that_it_watches() -> None:
    writer = Writer()
    client = ClientConnection(writer, "test")  # type: ignore[arg-type]
    line = LogLine(1.0, "warning", "engine", "odd")
    client.send(line, b"1")
    client.watch_log("error")
    client.send(line, b"2")
    client.watch_log("info")
    client.send(line, b"3")
    client.watch_log("")
    client.send(line, b"4")
    assert writer.frames == [b"3"]
