"""Each parser reads some thousand mutated inputs, and all that have ever broken one."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.fuzz.__main__ import main
from tests.fuzz.fuzz_target import FINDINGS, FuzzTarget, Parse, fuzz, kept_inputs, opened, read_input
from tests.fuzz.mutation import InputFormat, Mutator
from tests.fuzz.targets import TARGETS

pytestmark = pytest.mark.timeout(60)

INPUTS = 400
SEED = int(time.time() // 86400)
"""Another one each day; a failure names it."""


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_a_parser_raises_nothing_but_its_documented_errors(target: FuzzTarget) -> None:
    run = fuzz(target, SEED, inputs=INPUTS)
    assert run.findings == {}, run
    assert run.inputs == INPUTS


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_samples_are_accepted(target: FuzzTarget) -> None:
    """Otherwise mutations would not get far."""
    with opened(target) as parse:
        accepted = [read_input(target, parse, data) for data in target.samples()]
    assert any(accepted) or target.name in ("upload-frames",)  # a downstream always ends by closing


@pytest.mark.parametrize("name", sorted(path.name for path in FINDINGS.iterdir()))
def test_what_once_broke_a_parser_does_not_any_more(name: str) -> None:
    with opened(TARGETS[name]) as parse:
        for data in kept_inputs(name):
            read_input(TARGETS[name], parse, data)


def _broken(folder: Path, stack: ExitStack) -> Parse:
    def parse(data: bytes) -> None:
        if data.startswith(b"\xff"):
            raise KeyError(data)
        if len(data) > 8:
            raise ValueError("too long")

    return parse


def test_a_broken_parser_is_found() -> None:
    target = FuzzTarget("broken", "", (ValueError,), lambda: [b"\x7fsample"], _broken)
    run = fuzz(target, 1, inputs=2000)
    assert [what.partition(" ")[0] for what in run.findings] == ["KeyError"]
    assert next(iter(run.findings.values())).startswith(b"\xff")
    assert 0 < run.accepted < 2000


@pytest.mark.parametrize("form", InputFormat)
def test_equal_seeds_make_equal_inputs(form: InputFormat) -> None:
    samples = [b'{"a": [1, "x"]}\n', b"\x81\xa1a\x01", b"\x12\0\0\0\0\0"]
    made = [[mutator.mutate(samples) for _ in range(300)] for mutator in (Mutator(7, form), Mutator(7, form))]
    assert made[0] == made[1]
    assert len(set(made[0])) > 100


def test_the_command_lists_and_runs_targets(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in TARGETS)
    assert main(["trailer", "--inputs", "50", "--seed", "3"]) == 0
    said = capsys.readouterr().out
    assert "50 inputs" in said
    assert "(seed 3)" in said
