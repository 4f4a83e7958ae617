"""The account of a soak: wrong files, failures without a fault, and what is left are named."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from benchmarks.soak.soak_casts import Content, compare, file_hash, make_content
from benchmarks.soak.soak_records import (
    AnyRecord,
    CastRecord,
    DeliveryRecord,
    FaultRecord,
    ProcessSample,
    ResourceSample,
    RunEnded,
    RunStarted,
    RunWriter,
    read_run,
)
from benchmarks.soak.soak_report import BEGIN, END, SoakRun, problems, write_documents

MIB = 1 << 20


def a_cast(*deliveries: DeliveryRecord, explained: bool = True) -> CastRecord:
    return CastRecord(
        at=9.0,
        cast="0123456789ab",
        what="new",
        sent=5.0,
        bytes=1000,
        files=1,
        source="node_1",
        state="completed",
        deliveries=deliveries,
        explained=explained,
    )


def records(grows: float = 0.0) -> list[AnyRecord]:
    samples = [
        ResourceSample(
            10.0 * number,
            (
                ProcessSample("engine", 7, round(100 * MIB + grows * number), 1, 5, 20),
                ProcessSample("raylet h0", 8, 90 * MIB * number, 1, 5, 20),
            ),
            {"home": MIB, "Ray": MIB},
            0,
        )
        for number in range(360)
    ]
    return [
        RunStarted(0.0, 1_800_000_000.0, 1, 3600.0, "2 x something", 5),
        *samples,
        a_cast(DeliveryRecord("node_2", "completed")),
        FaultRecord(20.0, "kill agent", "node_2", 10.0, 11.0, 3.0),
        RunEnded(3600.0, (), ()),
    ]


def test_a_good_run_has_no_problems() -> None:
    assert problems(SoakRun.of(records())) == []


def test_a_curve_that_grows_is_named() -> None:
    (problem,) = problems(SoakRun.of(records(grows=0.2 * MIB)))
    assert problem.startswith("engine: memory grew: +72.0 MiB an hour")


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (a_cast(DeliveryRecord("node_2", "failed", "damaged", False)), "node_2: failed damaged"),
        (a_cast(DeliveryRecord("node_2", "completed", wrong=("file.bin",))), "wrong files: file.bin"),
        (a_cast(explained=False), "no fault explains"),
        (FaultRecord(20.0, "kill agent", "node_3", 10.0, 11.0, -1.0), "not recovered: kill agent node_3"),
    ],
)
def test_what_is_not_as_promised_is_named(record: AnyRecord, words: str) -> None:
    (problem,) = problems(SoakRun.of([*records(), record]))
    assert words in problem


def test_what_is_left_is_named() -> None:
    ended = RunEnded(3600.0, ("/out/1/.castray-x",), ("cast a",), ("h0: python",), "OSError")
    assert len(problems(SoakRun.of([*records()[:-1], ended]))) == 4
    assert problems(SoakRun.of(records()[:-1])) == ["the run was broken off"]


def test_a_run_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    with RunWriter(tmp_path / "run.jsonl") as writer:
        for record in records():
            writer.write(record)
    assert list(read_run(tmp_path / "run.jsonl")) == records()


def test_the_document_is_renewed_between_its_marks(tmp_path: Path) -> None:
    document = tmp_path / "soak.md"
    document.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    write_documents(SoakRun.of(records()), document, tmp_path)
    written = document.read_text()
    assert written.startswith("before\n")
    assert written.endswith("\nafter\n")
    assert "old" not in written
    assert "| kill agent | 1 |" in written
    assert (tmp_path / "soak-processes.svg").read_text().startswith("<svg")
    assert (tmp_path / "soak-disk.svg").exists()


def test_a_document_without_marks_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "soak.md").write_text("text")
    with pytest.raises(ValueError, match="has no"):
        write_documents(SoakRun.of(records()), tmp_path / "soak.md", tmp_path)


def test_contents_are_those_of_their_seed(tmp_path: Path) -> None:
    one, other = (
        make_content(tmp_path / name, random.Random(f"seed {number % 2}"))
        for number, name in enumerate(("a", "b"))
    )
    again = make_content(tmp_path / "c", random.Random("seed 0"))
    assert one.hashes == again.hashes != other.hashes
    assert sum(path.stat().st_size for path in one.folder.rglob("*") if path.is_file()) == one.bytes


def test_wrong_missing_and_unknown_files_are_found(tmp_path: Path) -> None:
    source, destination = tmp_path / "source", tmp_path / "destination"
    source.mkdir()
    (destination / ".castray-part").mkdir(parents=True)
    for name in ("same", "changed", "missing"):
        (source / name).write_text(name)
    hashes = {name: {file_hash(source / name)} for name in ("same", "changed", "missing")}
    (destination / "same").write_text("same")
    (destination / "changed").write_text("half")
    (destination / "unknown").write_text("x")
    (destination / ".castray-part" / "piece").write_text("not a final name")
    content = Content(source, 17, hashes)
    assert sorted(compare(content, destination, whole=False)) == ["changed", "unknown"]
    assert "missing is missing" in compare(content, destination, whole=True)
    hashes["changed"].add(file_hash(destination / "changed"))
    assert compare(content, destination, whole=False) == ("unknown",)
