"""What commands print about casts."""

from __future__ import annotations

import sys
from typing import Any

import msgspec
import pytest

from castray_desktop.cli.output.cast_text import MAX_ROWS, print_result, print_troubles
from castray_desktop.cli.output.terminal import OutputStyle, use_output_style
from castray_desktop.core.casts.transfer_options import Encryption, TransferOptions, TransportOption
from castray_desktop.core.content.file_outcomes import FileCounts
from castray_desktop.core.failures.kinds import Failure, FailureKind
from castray_desktop.core.multicast.datagrams import MulticastEnd, MulticastState
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import CastResult, DeliveryState
from tests.cli.examples import Said, ended
from tests.helpers.samples import make_cast, make_delivery


def test_the_result_has_the_outcome_of_multicast(said: Said, capsys: pytest.CaptureFixture[str]) -> None:
    stopped = messages.MulticastSnapshot(MulticastState.STOPPED, MulticastEnd.NOTHING_ARRIVES, rate=1.2)
    line = said(ended(multicast=stopped))
    assert line["multicast"] == {
        "state": "stopped",
        "end": "nothing_arrives",
        "reason": "No recipient received the multicast from desk, so the relay delivered the files. Allow UDP"
        " to 239.192.0.0/14 (ff12::/16 with IPv6) in firewalls, and enable an IGMP querier for switches with"
        " IGMP snooping. Most cloud networks do not support multicast; use the relay there.",
        "listeners": [],
        "bytes": 0,
        "rate": 1,
    }
    print_result(ended(multicast=stopped))
    assert "castray: No recipient received the multicast from desk" in capsys.readouterr().err
    print_result(ended(multicast=messages.MulticastSnapshot(MulticastState.DONE, bytes=10**10)))
    assert "10.0 GB by multicast, once for all." in capsys.readouterr().out


def test_broken_links_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    print_result(ended(followed_links=1200, kept_links=3, broken_links=2, broken_names=("top/dead",)))
    print_result(ended(kept_links=3))
    print_result(ended())
    told = capsys.readouterr()
    assert [line for line in told.out.splitlines() if line.startswith("Symbolic links")] == [
        "Symbolic links: 1200 sent as their targets, 3 as links.",
        "Symbolic links: 3 as links.",
    ]
    assert [line for line in told.err.splitlines() if "links" in line] == [
        "castray: warning: links that are broken on the recipients: 2 (top/dead and 1 more)."
        " Their targets don't exist or are not sent."
    ]


def test_compared_checksums_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    print_result(ended(files=12, checksums={"sha256": 9, "md5": 1}))
    line = "Compared with the checksums of their servers: 9 by SHA-256, 1 by MD5 of 12 files."
    assert line in capsys.readouterr().out.splitlines()
    print_result(ended())
    assert "checksum" not in capsys.readouterr().out


def test_names_can_not_command_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    result = ended()
    first = msgspec.structs.replace(result.deliveries[0], paths=("/in/\x1b[2Jx\ny",))
    print_result(CastResult(result.summary, (first,), 1.0))
    output = capsys.readouterr().out
    assert "\x1b" not in output
    assert len(output.splitlines()) == 2


def encrypted(*hops: bool | None, **options: Any) -> CastResult:
    """The result of a cast whose deliveries were encrypted, were not, or crossed no network."""
    deliveries = tuple(
        make_delivery(f"node_{number}", DeliveryState.COMPLETED, encrypted=hop)
        for number, hop in enumerate(hops, 1)
    )
    together = False not in hops if {True, False} & set(hops) else None
    summary = make_cast(encrypted=together, options=TransferOptions(**options))
    return CastResult(summary, deliveries, 1.0)


@pytest.mark.parametrize(
    ("result", "word"),
    [
        (encrypted(True, True, None), ", encrypted"),
        (encrypted(None, None), " copies uploaded"),
        (encrypted(False), ", not encrypted"),
        (encrypted(True, False), ", partly encrypted"),
    ],
)
def test_the_last_line_says_whether_it_was_encrypted(
    result: CastResult, word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    print_result(result)
    assert capsys.readouterr().out.rstrip().endswith(word)


def test_a_warning_names_who_got_it_in_clear_text(capsys: pytest.CaptureFixture[str]) -> None:
    print_result(encrypted(*[False] * 6, True))
    assert capsys.readouterr().err == (
        "castray: warning: the connections to node_1, node_2, node_3, node_4 and 2 more are not encrypted."
        " With --encrypt always, nothing is sent unencrypted.\n"
    )
    print_result(encrypted(False, transport=TransportOption.UDP))
    assert capsys.readouterr().err == (
        "castray: warning: multicast is not encrypted. Use the relay (--transport auto) for secrets.\n"
    )


def test_there_is_no_warning_of_what_was_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    print_result(encrypted(False, encrypt=Encryption.NEVER))
    print_result(encrypted(True, None))
    assert capsys.readouterr().err == ""


def many(*changed: messages.DeliverySnapshot) -> CastResult:
    """A cast to 30 recipients, the first ones of which ended like `changed`."""
    done = [
        make_delivery(
            f"node_{number}",
            DeliveryState.COMPLETED,
            hash="blake3:00",
            paths=(f"/in/node_{number}/model.bin",),
            counts=FileCounts(sent=20),
        )
        for number in range(1, 31)
    ]
    deliveries = (*changed, *done[len(changed) :])
    return CastResult(make_cast(cast="c0ffee", recipients=30, verified=30), deliveries, 1.0)


def test_many_recipients_with_one_outcome_share_a_line_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    print_result(many())
    first, second, *_ = capsys.readouterr().out.splitlines()
    assert first == "30 recipients: completed blake3:00 (20 sent)"
    assert second == "Show each recipient with: castray casts show c0ffee"
    offline = Failure(FailureKind.NODE_OFFLINE, {"node": "node_1"})
    kept = FileCounts(sent=19, renamed=1)
    print_result(
        many(
            make_delivery("node_1", DeliveryState.FAILED, failure=offline),
            make_delivery("node_2", DeliveryState.COMPLETED, hash="blake3:00", counts=kept, paths=("/in/x",)),
        )
    )
    told = capsys.readouterr()
    assert told.err == "castray: node_1 went offline. Send again when it is back.\n"
    assert told.out.splitlines()[:2] == [
        "node_2: completed /in/x blake3:00 (19 sent, 1 kept as (2))",
        "28 recipients: completed blake3:00 (20 sent)",
    ]


def test_scripts_and_those_who_ask_get_a_line_for_each_recipient(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    print_result(many())
    lines = capsys.readouterr().out.splitlines()
    assert lines[29] == "node_30: completed /in/node_30/model.bin blake3:00 (20 sent)"
    assert "castray casts show" not in "\n".join(lines)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    with use_output_style(OutputStyle(verbose=True)):
        print_result(many())
    assert sum(line.startswith("node_30: ") for line in capsys.readouterr().out.splitlines()) == 2
    few = many()
    print_result(CastResult(few.summary, few.deliveries[:MAX_ROWS], 1.0))
    assert capsys.readouterr().out.count(": completed /in/") == MAX_ROWS


def failed(whole: Failure | None, *failures: Failure) -> CastResult:
    """A cast that reached nobody, for these reasons of its recipients."""
    deliveries = tuple(
        make_delivery(f"node_{number}", DeliveryState.FAILED, failure=failure)
        for number, failure in enumerate(failures, 1)
    )
    state = messages.CastState.FAILED
    return CastResult(make_cast(state=state, recipients=len(failures), failure=whole), deliveries, 1.0)


REFUSED = Failure(FailureKind.URL_FAILED, {"url": "https://host/x", "reason": "the server answers 404"})
REFUSAL = "https://host/x could not be downloaded: the server answers 404."


@pytest.mark.parametrize("quiet", [False, True])
def test_one_reason_of_all_recipients_is_printed_once(
    quiet: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    show = print_troubles if quiet else print_result
    show(failed(REFUSED, *[REFUSED] * 3))
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"castray: node_1, node_2, node_3: {REFUSAL}")
    show(failed(REFUSED, *[REFUSED] * 20))
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"castray: 20 recipients: {REFUSAL}")
    show(failed(REFUSED, REFUSED))
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"castray: {REFUSAL}")


def test_the_reason_of_a_cast_is_printed_beside_other_reasons(capsys: pytest.CaptureFixture[str]) -> None:
    lost = Failure(FailureKind.UPSTREAM_LOST, {"node": "node_1", "upstream": "desk", "reason": "reset"})
    print_result(failed(REFUSED, lost))
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("castray: node_1 lost its connection to desk: reset.")
    assert second.startswith(f"castray: {REFUSAL}")


def test_recipients_that_failed_alike_share_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    def refusal(node: str, path: str) -> Failure:
        values = {"node": node, "path": path, "reason": "Input/output error"}
        return Failure(FailureKind.WRITE_ERROR, values)

    print_result(failed(None, refusal("node_1", "/a"), refusal("node_2", "/b"), refusal("node_3", "/a")))
    assert capsys.readouterr().err.splitlines() == [
        "castray: node_1, node_3: Could not write /a: Input/output error. Check the disk of node_1, node_3,"
        " then send again.",
        "castray: node_2 could not write /b: Input/output error. Check the disk of node_2, then send again.",
    ]
    some = Failure(FailureKind.NO_FILE_DELIVERED, {"reason": "It vanished.", "cure": "Send again."})
    print_result(failed(None, refusal("node_1", "/a"), some))
    assert capsys.readouterr().err.splitlines()[1].startswith("castray: node_2: No file was delivered.")
