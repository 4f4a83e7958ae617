"""Probe files, between transfer services that count as different machines."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from castray_desktop.core.protocol.nodes.agent_orders import CheckDestination, ForgetCast, Probe, ProbeVerb
from castray_desktop.workers.agent.transfer.store.shared_storage_probe import StorageProbes
from castray_desktop.workers.agent.transfer.store.staging import StagingRegistry
from tests.workers.agent.transfer.lab import Lab


def name() -> str:
    return f".castray-probe-{secrets.token_hex(16)}"


def probe(verb: ProbeVerb, name: str, destination: Path, below: str = "", content: str = "abc") -> Probe:
    return Probe("c", verb, name, content, str(destination), below)


def test_one_places_it_the_others_find_it(lab: Lab, tmp_path: Path) -> None:
    one, other = (lab.node(node).plane for node in ("a", "b"))
    dest, file = tmp_path / "not" / "yet", name()
    placed = one.probe(probe(ProbeVerb.PLACE, file, dest))
    assert (placed.yes, placed.below) == (True, "not/yet")
    assert (tmp_path / file).stat().st_mode & 0o777 == 0o600
    (tmp_path / "not").mkdir()  # by another cast in the meantime
    assert other.probe(probe(ProbeVerb.LOOK, file, dest, placed.below)).yes
    assert not other.probe(probe(ProbeVerb.LOOK, file, dest, placed.below, content="abd")).yes
    assert not other.probe(probe(ProbeVerb.LOOK, file, tmp_path / "not" / "that", placed.below)).yes
    assert not other.probe(probe(ProbeVerb.LOOK, name(), dest, placed.below)).yes
    assert one.probe(probe(ProbeVerb.REMOVE, file, dest)).yes
    assert not other.probe(probe(ProbeVerb.LOOK, file, dest, placed.below)).yes
    assert not dest.exists()


def test_a_name_that_is_no_probe_is_neither_written_nor_read(lab: Lab, tmp_path: Path) -> None:
    plane = lab.node("a").plane
    (tmp_path / "secret").write_text("abc")
    for bad in ("secret", "../secret", ".castray-probe-/../secret", "", ".castray-probe-xyz"):
        assert not plane.probe(probe(ProbeVerb.LOOK, bad, tmp_path)).yes
        assert not plane.probe(probe(ProbeVerb.PLACE, bad, tmp_path / bad)).yes
    file = name()
    (tmp_path / file).symlink_to(tmp_path / "secret")
    assert not plane.probe(probe(ProbeVerb.LOOK, file, tmp_path)).yes
    (tmp_path / file).unlink()
    os.mkfifo(tmp_path / (pipe := name()))
    assert not plane.probe(probe(ProbeVerb.LOOK, pipe, tmp_path)).yes
    (tmp_path / pipe).unlink()
    assert not plane.probe(probe(ProbeVerb.PLACE, name(), tmp_path / "secret" / "x")).yes


def test_probes_are_removed_with_the_cast_and_with_the_agent(lab: Lab, tmp_path: Path) -> None:
    plane = lab.node("a").plane
    assert plane.probe(probe(ProbeVerb.PLACE, name(), tmp_path)).yes
    plane.carry_out(ForgetCast("c"))
    assert list(tmp_path.glob(".castray-probe-*")) == []
    assert plane.probe(probe(ProbeVerb.PLACE, name(), tmp_path)).yes  # the lab checks the end state


def test_an_order_to_remove_may_come_first(tmp_path: Path) -> None:
    probes, file = StorageProbes("a", tmp_path, StagingRegistry()), name()
    assert probes.carry_out(probe(ProbeVerb.REMOVE, file, tmp_path)).yes
    assert not probes.carry_out(probe(ProbeVerb.PLACE, file, tmp_path)).yes
    assert list(tmp_path.glob(".castray-probe-*")) == []


def test_a_probe_that_slow_storage_creates_too_late_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    probes, file = StorageProbes("a", tmp_path, StagingRegistry()), name()
    real = os.open

    def slow(path: object, *rest: object) -> int:
        if os.fsencode(file) in os.fsencode(path):  # type: ignore[arg-type]
            probes.carry_out(probe(ProbeVerb.REMOVE, file, tmp_path))
        return real(path, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", slow)
    assert not probes.carry_out(probe(ProbeVerb.PLACE, file, tmp_path)).yes
    assert list(tmp_path.glob(".castray-probe-*")) == []


def test_a_killed_agent_leaves_nothing_for_ever(lab: Lab, tmp_path: Path, home: Path) -> None:
    file = name()
    code = (
        "import os, signal; from pathlib import Path\n"
        "from castray_desktop.workers.agent.transfer.store.shared_storage_probe import StorageProbes\n"
        "from castray_desktop.workers.agent.transfer.store.staging import StagingRegistry\n"
        "from castray_desktop.core.protocol.nodes.agent_orders import Probe, ProbeVerb\n"
        f"order = Probe('c', ProbeVerb.PLACE, {file!r}, 'abc', {str(tmp_path)!r})\n"
        f"assert StorageProbes('a', Path({str(tmp_path)!r}), StagingRegistry()).carry_out(order).yes\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, timeout=30)
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / file).exists()
    assert len(list((home / "staging").iterdir())) == 1
    lab.node("a")
    assert not (tmp_path / file).exists()
    assert list((home / "staging").iterdir()) == []


def test_storage_is_not_reported_if_local_copies_are_off(lab: Lab, tmp_path: Path) -> None:
    order = CheckDestination("c", str(tmp_path), (), 1, 1)
    with_short_cuts = lab.node("a", local=True).plane.preflight(order)
    without = lab.node("b").plane.preflight(order)
    assert with_short_cuts.mount
    assert without.mount == ""
    assert without.storage == with_short_cuts.storage != ""  # one machine still writes once
