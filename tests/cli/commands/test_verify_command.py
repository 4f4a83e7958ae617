"""`castray verify`."""

from __future__ import annotations

import pytest

from castray_desktop.cli.commands.verify_command import print_verified
from castray_desktop.core.failures.kinds import Failure, FailureKind
from castray_desktop.core.protocol import messages as m


def test_the_result_of_a_verification_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    failure = Failure(FailureKind.NODE_OFFLINE, {"node": "node_3"})
    print_verified(
        m.VerifyReport(
            "job",
            (
                m.VerifiedNode("node_1", m.VerifiedState.SAME, "blake3:00", 2, 10),
                m.VerifiedNode("node_2", m.VerifiedState.DIFFERENT, "", 2, 9, ("a\x1b",), 5),
                m.VerifiedNode("node_3", m.VerifiedState.FAILED, failure=failure),
            ),
        )
    )
    output = capsys.readouterr()
    assert "\x1b" not in output.out
    assert "node_2: and 4 more" in output.out
    assert output.err.startswith("castray: node_3 went offline.")
