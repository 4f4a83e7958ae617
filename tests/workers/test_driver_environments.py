"""Environments for drivers, made by a Python that only pretends, and what the supervisor does with them."""

from __future__ import annotations

import asyncio
import platform
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from castray_desktop.core.failure import CastRayError, Failure, FailureKind
from castray_desktop.core.messages import ClusterPhase
from castray_desktop.workers.cluster.driver_environments import DriverEnvironments, Versions, own_versions
from castray_desktop.workers.cluster.interpreters import Interpreter, candidates, find_interpreter, minor
from castray_desktop.workers.ray_side import protocol
from tests.helpers.fake_driver import FakeDriver
from tests.workers.test_supervisor import Stage

THERE = Versions("2.49.2", "3.99.1")
TARGET = "10.0.0.1:6379"
DIFFERS = protocol.ClusterFailed(
    Failure(FailureKind.RAY_DIFFERS, {"target": TARGET, "ray": THERE.ray, "python": THERE.python})
)

PYTHON = """\
#!{sh}
case "$3" in
  "import ensurepip"*) echo {version} ;;
  venv) mkdir -p "$4/bin" && cp "$0" "$4/bin/python" ;;
  pip) {install} ;;
  "import ray"*) exit 0 ;;
esac
"""


@pytest.fixture
def no_pythons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home and a path on which nothing is found; returns the folder that the path names."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/bin")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PYENV_ROOT", raising=False)
    monkeypatch.delenv("CASTRAY_DRIVER_PYTHON", raising=False)
    return folder


def add_python(folder: Path, install: str = "exit 0", version: str = "3.99.1", name: str = "3.99") -> Path:
    path = folder / f"python{name}"
    path.write_text(PYTHON.format(sh="/bin/sh", version=version, install=install))
    path.chmod(0o700)
    return path


def environments(tmp_path: Path) -> DriverEnvironments:
    return DriverEnvironments(tmp_path / "home", tmp_path / "home" / "logs")


def left_over(tmp_path: Path) -> list[str]:
    return [path.name for path in (tmp_path / "home" / "drivers").glob("ray-*")]


def test_our_own_versions_need_no_environment(tmp_path: Path, no_pythons: Path) -> None:
    known = environments(tmp_path)
    assert known.use(TARGET, own_versions())
    assert known.interpreter(TARGET) == sys.executable
    other_patch = Versions(own_versions().ray, minor(platform.python_version()) + ".99")
    assert other_patch.fits_us
    assert not Versions("2.0.0", platform.python_version()).fits_us


async def test_an_environment_is_made_once_and_used_from_then_on(tmp_path: Path, no_pythons: Path) -> None:
    add_python(no_pythons)
    steps: list[str] = []
    known = environments(tmp_path)
    assert not known.use(TARGET, THERE)
    await known.prepare(THERE, steps.append)
    assert steps == ["python", "environment", "ray", "check"]
    assert known.use(TARGET, THERE)
    later = environments(tmp_path)
    assert later.interpreter(TARGET) == str(tmp_path / "home/drivers/ray-2.49.2-py3.99/bin/python")
    assert later.interpreter("local") == sys.executable
    assert later.use("10.0.0.2:6379", Versions("2.49.2", "3.99.7"))  # another patch of that Python
    assert later.use(TARGET, own_versions())  # the cluster was brought up to date
    assert later.interpreter(TARGET) == sys.executable


async def test_what_pip_says_is_the_reason_and_nothing_is_left(tmp_path: Path, no_pythons: Path) -> None:
    add_python(no_pythons, install="echo 'ERROR: No matching distribution'; echo '[notice] x'; exit 1")
    with pytest.raises(CastRayError) as raised:
        await environments(tmp_path).prepare(THERE, lambda step: None)
    failure = raised.value.failure
    assert failure.kind is FailureKind.DRIVER_NOT_PREPARED
    assert failure.values["reason"] == "ERROR: No matching distribution"
    assert Path(failure.values["log"]).read_text().count("$ ") == 2
    assert left_over(tmp_path) == []


async def test_a_cancelled_one_leaves_nothing(tmp_path: Path, no_pythons: Path) -> None:
    begun = tmp_path / "begun"
    add_python(no_pythons, install=f"echo $$ > {begun}; exec sleep 600")
    waiting = asyncio.Event()

    def step(name: str) -> None:
        if name == "ray":
            waiting.set()

    making = asyncio.create_task(environments(tmp_path).prepare(THERE, step))
    await waiting.wait()
    while not begun.exists() or not begun.read_text():  # noqa: ASYNC110 - a file tells nobody
        await asyncio.sleep(0.001)
    making.cancel()
    with pytest.raises(asyncio.CancelledError):
        await making
    assert left_over(tmp_path) == []
    assert not Path(f"/proc/{begun.read_text().strip()}").exists()


async def test_without_a_python_that_fits_it_says_so(tmp_path: Path, no_pythons: Path) -> None:
    with pytest.raises(CastRayError) as raised:
        await environments(tmp_path).prepare(THERE, lambda step: None)
    assert raised.value.failure == Failure(FailureKind.PYTHON_MISSING, {"python": "3.99", "ray": "2.49.2"})
    assert left_over(tmp_path) == []


async def test_uv_brings_a_python_that_is_not_here(tmp_path: Path, no_pythons: Path) -> None:
    uv = no_pythons / "uv"
    uv.write_text(
        '#!/bin/sh\necho "$@" >> "$0.log"\n[ "$1" = venv ] || exit 0\nmkdir -p "$4/bin"\n'
        'printf "#!/bin/sh\\n" > "$4/bin/python"\nchmod 700 "$4/bin/python"\n'
    )
    uv.chmod(0o700)
    known = environments(tmp_path)
    await known.prepare(THERE, lambda step: None)
    assert known.use(TARGET, THERE)
    made, installed, _ = uv.with_name("uv.log").read_text().splitlines()
    assert made.startswith("venv --python 3.99 ")
    assert installed.endswith("ray[client]==2.49.2")


async def test_an_interpreter_of_the_users_own_is_used_for_everything(
    tmp_path: Path, no_pythons: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASTRAY_DRIVER_PYTHON", "/opt/python")
    known = environments(tmp_path)
    assert known.interpreter(TARGET) == known.interpreter("local") == "/opt/python"
    assert not known.use(TARGET, THERE)
    with pytest.raises(CastRayError):
        await known.prepare(THERE, lambda step: None)


# --- interpreters -------------------------------------------------------------------------------


async def test_the_same_patch_is_preferred(tmp_path: Path, no_pythons: Path) -> None:
    newer = tmp_path / ".pyenv/versions/3.99.12/bin"
    newer.mkdir(parents=True)
    add_python(newer, version="3.99.12")
    exact = add_python(no_pythons, version="3.99.1")
    assert await find_interpreter("3.99.1") == Interpreter(exact, "3.99.1")
    assert await find_interpreter("3.99.4") == Interpreter(newer / "python3.99", "3.99.12")
    assert await find_interpreter("3.98.1") is None


async def test_a_shim_that_leads_nowhere_is_passed_over(tmp_path: Path, no_pythons: Path) -> None:
    shim = no_pythons / "python3.99"
    shim.write_text("#!/bin/sh\necho 'pyenv: python3.99: command not found' >&2\nexit 127\n")
    shim.chmod(0o700)
    assert await find_interpreter("3.99.1") is None


def test_our_own_python_is_a_candidate() -> None:
    assert next(candidates(minor(platform.python_version()))).exists()


# --- the supervisor -----------------------------------------------------------------------------


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    (tmp_path / "home").mkdir()
    made = Stage(tmp_path / "home")
    yield made
    await made.supervisor.leave()


def first_differs() -> Callable[..., None]:
    """The first driver runs another Ray than the cluster, later ones the same."""
    met = []

    def script(driver: object) -> None:
        met.append(driver)
        (driver.say(DIFFERS) if len(met) == 1 else driver.come_up())  # type: ignore[attr-defined]

    return script


async def test_another_ray_is_the_users_to_decide_about(stage: Stage, no_pythons: Path) -> None:
    stage.script = first_differs()
    await stage.supervisor.use(TARGET)
    await stage.phase(ClusterPhase.FAILED)
    failure = stage.supervisor.status.failure
    assert failure is not None
    assert (failure.kind, failure.values["ray"]) == (FailureKind.RAY_DIFFERS, "2.49.2")
    assert len(stage.drivers) == 1


async def test_a_driver_is_prepared_and_connects(stage: Stage, no_pythons: Path) -> None:
    add_python(no_pythons)
    stage.script = first_differs()
    await stage.supervisor.use(TARGET, prepare=True)
    await stage.phase(ClusterPhase.READY)
    assert len(stage.drivers) == 2
    assert ClusterPhase.PREPARING in stage.phases
    # The next time it is there.
    await stage.supervisor.leave()
    stage.phases.clear()
    stage.script = first_differs()
    await stage.supervisor.use(TARGET)
    await stage.phase(ClusterPhase.READY)
    assert ClusterPhase.PREPARING not in stage.phases


async def test_a_driver_that_can_not_be_prepared_is_the_failure(stage: Stage, no_pythons: Path) -> None:
    stage.script = first_differs()
    await stage.supervisor.use(TARGET, prepare=True)
    await stage.phase(ClusterPhase.FAILED)
    assert stage.supervisor.status.failure is not None
    assert stage.supervisor.status.failure.kind is FailureKind.PYTHON_MISSING


async def test_versions_that_never_fit_end_the_attempts(stage: Stage, no_pythons: Path) -> None:
    add_python(no_pythons)
    stage.script = lambda driver: driver.say(DIFFERS)
    await stage.supervisor.use(TARGET, prepare=True)
    await stage.phase(ClusterPhase.FAILED)
    assert len(stage.drivers) == 2


async def test_a_cluster_that_was_brought_up_to_date_is_found_out(stage: Stage, no_pythons: Path) -> None:
    """A driver of the Ray before says nothing of versions: it can't connect at all."""
    add_python(no_pythons)
    stage.script = first_differs()
    await stage.supervisor.use(TARGET, prepare=True)
    await stage.phase(ClusterPhase.READY)
    await stage.supervisor.leave()
    refused = protocol.ClusterFailed(
        Failure(FailureKind.CLUSTER_UNREACHABLE, {"target": TARGET, "reason": ""})
    )
    met: list[object] = []

    def script(driver: FakeDriver) -> None:
        met.append(driver)
        (driver.say(refused) if len(met) == 1 else driver.come_up())

    stage.script = script
    await stage.supervisor.use(TARGET)
    await stage.phase(ClusterPhase.READY)
    assert len(met) == 2
    await stage.supervisor.leave()
    stage.script = lambda driver: driver.say(refused)  # nothing is noted any more: one attempt
    await stage.supervisor.use(TARGET)
    await stage.phase(ClusterPhase.FAILED)
    assert len(met) == 2
