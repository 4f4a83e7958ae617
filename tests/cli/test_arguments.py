"""Types of arguments, and the request that the options of a command make."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import pytest

from castray_desktop.cli.arguments import duration, moment, send_request
from castray_desktop.cli.command_line import (
    parse_command,
)
from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.core.failures.sentences import sentence
from castray_desktop.core.protocol.messages import THIS_COMPUTER, Encryption, Links, OnConflict
from castray_desktop.workers.clusters.node_inventory import local_node_name


@pytest.mark.parametrize(
    ("given", "seconds"), [("30s", 30), ("15m", 900), ("2h", 7200), ("1.5d", 129_600), ("7", 7)]
)
def test_times_as_people_write_them(given: str, seconds: float) -> None:
    assert duration(given) == seconds


@pytest.mark.parametrize("given", ["", "soon", "0s", "-5s", "5 years"])
def test_wrong_times_are_refused(given: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        duration(given)


def test_moments_as_people_write_them() -> None:
    assert moment("2026-11-24") == time.mktime((2026, 11, 24, 0, 0, 0, 0, 0, -1))
    assert abs(moment("2h") - (time.time() - 7200)) < 5
    with pytest.raises(argparse.ArgumentTypeError):
        moment("yesterday")


def test_a_request_from_its_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x").touch()
    options = parse_command(
        [
            *("send", "x", "--to", "a, b,,@g", "--dest", "/data/{node}", "--on-conflict", "overwrite"),
            *("--exclude", "*.o", "--exclude", "tmp", "--include", "*.bin"),
            *("--limit", "10MB/s", "--encrypt", "always"),
        ]
    )
    request = send_request(options)
    assert request.paths == (str(tmp_path / "x"),)
    assert request.recipients == ("a", "b", "@g")
    assert (request.source, request.options.destination) == (THIS_COMPUTER, "/data/{node}")
    assert request.options.on_conflict is OnConflict.OVERWRITE
    assert (request.options.exclude, request.options.limit) == (("*.o", "tmp"), 10_000_000)
    assert request.options.include == ("*.bin",)
    assert request.options.encrypt is Encryption.ALWAYS
    assert request.leave_out


@pytest.mark.parametrize(
    "words",
    [
        ("send", "/x", "--to", "all"),
        ("schedule", "add", "nightly", "/x", "--to", "all", "--every", "1h"),
    ],
)
def test_multicast_can_not_have_to_be_encrypted(words: tuple[str, ...]) -> None:
    """It is refused before a cluster is looked for."""
    for choice in ("auto", "never"):
        send_request(parse_command([*words, "--from", "node_1", "--transport", "udp", "--encrypt", choice]))
    options = parse_command([*words, "--from", "node_1", "--transport", "udp", "--encrypt", "always"])
    with pytest.raises(CastRayError) as caught:
        send_request(options)
    assert sentence(caught.value.failure) == (
        "This cast requires encryption, and multicast can't be encrypted."
        " Use the relay (--transport auto), or don't require encryption."
    )


def test_a_link_to_a_folder_is_checked_as_its_target(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("x")
    command = ["send", str(link), "--to", "all"]
    assert send_request(parse_command([*command, "--links", "keep"])).paths == (str(link),)
    for links in ("auto", "follow"):
        with pytest.raises(CastRayError) as caught:
            send_request(parse_command([*command, "--links", links]))
        assert caught.value.failure.kind is FailureKind.DANGLING_LINK
    (tmp_path / "x").write_text("x")
    request = send_request(parse_command(command))
    assert (request.paths, request.options.links) == ((str(link),), Links.AUTO)


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        (["/nowhere", "--to", "all"], FailureKind.NO_SUCH_FILE),
        (["/dev/null", "--to", "all"], FailureKind.NOT_SENDABLE),
        (["/tmp", "--to", ", ,"], FailureKind.NO_RECIPIENTS),
        (["/tmp", "--to", "all", "--dest", "here"], FailureKind.BAD_DESTINATION),
        (["/tmp", "--to", "all", "--limit", "fast"], FailureKind.BAD_RATE),
        (["", "--to", "all"], FailureKind.NO_SUCH_FILE),
    ],
)
def test_bad_input_is_found_before_a_cluster_is_started(arguments: list[str], kind: FailureKind) -> None:
    with pytest.raises(CastRayError) as caught:
        send_request(parse_command(["send", *arguments]))
    assert caught.value.failure.kind is kind


def test_addresses_are_not_made_paths() -> None:
    url = "https://example.org/model.bin?key=1"
    options = parse_command(["send", url, "--to", "all"])
    assert (send_request(options).paths, send_request(options).source) == ((url,), "")
    options = parse_command(["send", url, "--to", "all", "--from", "node_1"])
    assert send_request(options).source == "node_1"


def test_a_file_and_an_address_are_sent_by_this_computer(tmp_path: Path) -> None:
    options = parse_command(["send", str(tmp_path), "https://example.org/model.bin", "--to", "all"])
    assert send_request(options).source == THIS_COMPUTER


def test_paths_of_another_source_are_its_own_business(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = parse_command(["send", "/nowhere", "--to", "all", "--from", "node_1"])
    assert send_request(options).source == "node_1"
    with pytest.raises(CastRayError) as caught:
        send_request(parse_command(["send", "data", "--to", "all", "--from", "node_1"]))
    assert sentence(caught.value.failure) == (
        "data is a relative path, but paths on node_1 must be absolute. Write the absolute path on node_1."
    )
    monkeypatch.chdir(tmp_path)
    for own in (local_node_name(), THIS_COMPUTER):
        options = parse_command(["send", "data", "--to", "all", "--from", own])
        assert send_request(options).paths == (str(tmp_path / "data"),)
