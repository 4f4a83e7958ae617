"""Joining a cluster, with a fake `ray start`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.workers.driver import cluster_join
from castray_desktop.workers.driver.cluster_join import ClusterJoin


@pytest.fixture
def ray_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program that replaces the interpreter; the test writes its code."""
    program = tmp_path / "python"
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setattr(cluster_join, "LEAVE_SECONDS", 5.0)
    return program


def write(program: Path, script: str) -> None:
    program.write_text(f'#!/bin/sh\necho "$@" > $0.arguments\n{script}\n')
    program.chmod(0o700)


def test_a_node_without_cpus_that_ends_with_us(ray_start: Path, tmp_path: Path) -> None:
    write(ray_start, "echo $$ > $0.pid; echo Ray runtime started.; exec sleep 600")
    member = ClusterJoin()
    member.join("127.0.0.1:6379", str(tmp_path / "temp"))
    arguments = Path(f"{ray_start}.arguments").read_text().split()
    assert {"--address=127.0.0.1:6379", "--num-cpus=0", "--block"} < set(arguments)
    pid = Path(f"{ray_start}.pid").read_text().strip()
    member.end()
    assert not Path(f"/proc/{pid}").exists()
    member.end()  # does nothing


def test_what_ray_says_is_the_reason(ray_start: Path, tmp_path: Path) -> None:
    write(ray_start, "echo trace; echo 'RuntimeError: no such cluster' >&2; exit 1")
    with pytest.raises(CastRayError) as raised:
        ClusterJoin().join("127.0.0.1:6379", str(tmp_path / "temp"))
    failure = raised.value.failure
    assert failure.kind is FailureKind.JOIN_FAILED
    assert failure.values["reason"] == "trace\nRuntimeError: no such cluster"


def test_one_that_hangs_is_ended(ray_start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_join, "JOIN_SECONDS", 0.3)
    write(ray_start, "echo $$ > $0.pid; exec sleep 600")
    with pytest.raises(CastRayError) as raised:
        ClusterJoin().join("127.0.0.1:6379", str(tmp_path / "temp"))
    assert raised.value.failure.values["reason"] == "it took too long"
    assert not Path(f"/proc/{Path(f'{ray_start}.pid').read_text().strip()}").exists()


def test_there_is_no_such_program(ray_start: Path, tmp_path: Path) -> None:
    with pytest.raises(CastRayError) as raised:
        ClusterJoin().join("127.0.0.1:6379", str(tmp_path / "temp"))
    assert raised.value.failure.kind is FailureKind.JOIN_FAILED
