"""Driver environments, created by a fake Python, and their use by the supervisor."""

from __future__ import annotations

import asyncio
import json
import platform
import re
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement

from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.core.protocol.messages import ClusterPhase
from castray_desktop.core.protocol.nodes import driver_protocol
from castray_desktop.workers.clusters.driver_environments import (
    MARKER_FILE,
    DriverEnvironments,
    RayVersions,
    find_interpreter,
    interpreter_candidates,
    known_hashes,
    minor_version,
    own_versions,
)
from tests.helpers.fake_driver import FakeDriver
from tests.workers.clusters.test_cluster_supervisor import Stage

THERE = RayVersions("2.49.2", "3.99.1")
TARGET = "10.0.0.1:6379"
DIFFERS = driver_protocol.ClusterFailed(
    Failure(FailureKind.RAY_DIFFERS, {"target": TARGET, "ray": THERE.ray, "python": THERE.python})
)

PYTHON = """\
#!{sh}
echo "$@" >> {log}
case "$3" in
  "import ensurepip"*) echo {version} ;;
  venv) mkdir -p "$4/bin" && cp "$0" "$4/bin/python" ;;
  pip) {install} ;;
  "import ray"*) exit 0 ;;
esac
"""


@pytest.fixture
def no_pythons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home and an empty search path; returns the folder on the path."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/bin")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PYENV_ROOT", raising=False)
    monkeypatch.delenv("CASTRAY_DRIVER_PYTHON", raising=False)
    return folder


def add_python(folder: Path, install: str = "exit 0", version: str = "3.99.1", name: str = "3.99") -> Path:
    path = folder / f"python{name}"
    log = folder / "arguments"
    path.write_text(PYTHON.format(sh="/bin/sh", version=version, install=install, log=log))
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
    other_patch = RayVersions(own_versions().ray, minor_version(platform.python_version()) + ".99")
    assert other_patch.fits_us
    assert not RayVersions("2.0.0", platform.python_version()).fits_us


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
    assert later.use("10.0.0.2:6379", RayVersions("2.49.2", "3.99.7"))  # another patch version of that Python
    assert later.use(TARGET, own_versions())  # the cluster was upgraded
    assert later.interpreter(TARGET) == sys.executable


@pytest.mark.parametrize(
    "odd",
    [
        RayVersions("2.49.2-py3.12/../ray-2.40.0", "3.99.1"),
        RayVersions("2.49.2/..", "3.99.1"),
        RayVersions("..", "3.99.1"),
        RayVersions("2.49.2 --index-url=x", "3.99.1"),
        RayVersions("2.49.2\n", "3.99.1"),
        RayVersions("", "3.99.1"),
        RayVersions("2.49.2", "3.99/../../x"),
        RayVersions("2.49.2", "3"),
    ],
)
async def test_what_is_no_version_never_becomes_a_path(
    tmp_path: Path, no_pythons: Path, odd: RayVersions
) -> None:
    """The head of a cluster can answer anything."""
    add_python(no_pythons)
    known = environments(tmp_path)
    await known.prepare(THERE, lambda step: None)
    drivers = tmp_path / "home" / "drivers"
    place = Path(f"{drivers}/ray-{odd.ray}-py{minor_version(odd.python)}")
    if not place.exists():  # otherwise it leads to the existing one
        (place / "bin").mkdir(parents=True)
        (place / "bin" / "python").symlink_to("/bin/true")
        (place / MARKER_FILE).touch()
    assert not known.use(TARGET, odd)
    with pytest.raises(CastRayError) as raised:
        await known.prepare(odd, lambda step: None)
    assert raised.value.failure.kind is FailureKind.DRIVER_NOT_PREPARED
    (drivers / "targets.json").write_text(json.dumps({TARGET: (odd.ray, odd.python)}))
    assert known.interpreter(TARGET) == sys.executable
    assert known.use(TARGET, THERE)


@pytest.mark.parametrize("ray", ["2.40.0", "2.49.2", "3.0.0.dev0", "2.50.0rc1", "2.9.3.post1", "2.9.0+abc.1"])
def test_versions_that_ray_has(ray: str) -> None:
    assert RayVersions(ray, "3.12.1").are_sound
    assert RayVersions(ray, "3.13.0rc2").are_sound


async def test_a_ray_that_is_known_is_installed_by_its_hashes_and_without_building(
    tmp_path: Path, no_pythons: Path
) -> None:
    add_python(no_pythons, install=f'for last; do :; done; cat "$last" >> {tmp_path}/required')
    await environments(tmp_path).prepare(THERE, lambda step: None)
    installs = [line for line in (no_pythons / "arguments").read_text().splitlines() if " pip " in line]
    assert len(installs) == 2
    assert all("--only-binary :all: --require-hashes -r " in line for line in installs)
    required = (tmp_path / "required").read_text().splitlines()
    assert required[0].startswith("ray[client]==2.49.2 --hash=sha256:")
    assert {"click", "grpcio", "blake3", "xxhash"} <= {line.partition("==")[0] for line in required}
    assert all("--hash=sha256:" in line for line in required)


async def test_a_ray_that_is_not_known_is_installed_without_building(
    tmp_path: Path, no_pythons: Path
) -> None:
    add_python(no_pythons)
    await environments(tmp_path).prepare(RayVersions("2.99.0", "3.99.1"), lambda step: None)
    ray, fast = [line for line in (no_pythons / "arguments").read_text().splitlines() if " pip " in line]
    assert ray.endswith("--only-binary :all: ray[client]==2.99.0")
    assert "--require-hashes" in fast


def test_the_hashes_are_those_of_packages_with_one_version_for_each_python() -> None:
    known = known_hashes()
    assert {"2.40.0", "2.49.2"} <= known.rays.keys()
    for hashes in (*known.rays.values(), *known.packages.values()):
        assert hashes
        assert all(re.fullmatch(r"[0-9a-f]{64}", digest) for digest in hashes)
    for python in ("3.9.20", "3.10.15", "3.11.7", "3.12.1", "3.13.0"):
        environment = {
            **default_environment(),
            "python_full_version": python,
            "python_version": minor_version(python),
            "sys_platform": "linux",
        }
        requirements = [Requirement(line) for line in known.packages]
        names = [
            item.name for item in requirements if item.marker is None or item.marker.evaluate(environment)
        ]
        assert len(names) == len(set(names)), python
        assert {
            "click",
            "filelock",
            "jsonschema",
            "msgpack",
            "protobuf",
            "pyyaml",
            "requests",
            "grpcio",
        } <= set(names)


async def test_what_pip_says_is_the_reason_and_nothing_is_left(tmp_path: Path, no_pythons: Path) -> None:
    add_python(no_pythons, install="echo 'ERROR: No matching distribution'; echo '[notice] x'; exit 1")
    with pytest.raises(CastRayError) as raised:
        await environments(tmp_path).prepare(THERE, lambda step: None)
    failure = raised.value.failure
    assert failure.kind is FailureKind.DRIVER_NOT_PREPARED
    assert failure.values["reason"] == "ERROR: No matching distribution"
    assert Path(failure.values["log"]).read_text().count("$ ") == 2
    assert left_over(tmp_path) == []


async def test_a_cancelled_preparation_leaves_no_files(tmp_path: Path, no_pythons: Path) -> None:
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
    assert " --only-binary :all: --require-hashes -r " in installed


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
    assert await find_interpreter("3.99.1") == exact
    assert await find_interpreter("3.99.4") == newer / "python3.99"
    assert await find_interpreter("3.98.1") is None


async def test_a_shim_that_leads_nowhere_is_passed_over(tmp_path: Path, no_pythons: Path) -> None:
    shim = no_pythons / "python3.99"
    shim.write_text("#!/bin/sh\necho 'pyenv: python3.99: command not found' >&2\nexit 127\n")
    shim.chmod(0o700)
    assert await find_interpreter("3.99.1") is None


async def test_an_interpreter_that_prints_a_warning_is_found(no_pythons: Path) -> None:
    python = no_pythons / "python3.99"
    python.write_text(
        "#!/bin/sh\necho 'ERROR: ld.so: object from LD_PRELOAD cannot be preloaded' >&2\necho 3.99.1\n"
    )
    python.chmod(0o700)
    assert await find_interpreter("3.99.1") == python


def test_our_own_python_is_a_candidate() -> None:
    assert next(interpreter_candidates(minor_version(platform.python_version()))).exists()


# --- the supervisor -----------------------------------------------------------------------------


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    (tmp_path / "home").mkdir()
    made = Stage(tmp_path / "home")
    yield made
    await made.supervisor.leave()


def first_differs() -> Callable[..., None]:
    """The first driver has another Ray version than the cluster, later ones the same."""
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


async def test_a_head_whose_version_is_none_gets_no_driver_for_it(stage: Stage, no_pythons: Path) -> None:
    add_python(no_pythons)
    failure = Failure(
        FailureKind.RAY_DIFFERS, {"target": TARGET, "ray": "2.49.2-py3.12/../x", "python": "3.12.1"}
    )
    stage.script = lambda driver: driver.say(driver_protocol.ClusterFailed(failure))
    await stage.supervisor.use(TARGET, prepare=True)
    await stage.phase(ClusterPhase.FAILED)
    assert stage.supervisor.status.failure is not None
    assert stage.supervisor.status.failure.kind is FailureKind.DRIVER_NOT_PREPARED


async def test_versions_that_never_fit_end_the_attempts(stage: Stage, no_pythons: Path) -> None:
    add_python(no_pythons)
    stage.script = lambda driver: driver.say(DIFFERS)
    await stage.supervisor.use(TARGET, prepare=True)
    await stage.phase(ClusterPhase.FAILED)
    assert len(stage.drivers) == 2


async def test_another_ray_version_of_a_known_cluster_is_noticed(stage: Stage, no_pythons: Path) -> None:
    """A driver of the previous Ray version does not mention versions: it fails to connect."""
    add_python(no_pythons)
    stage.script = first_differs()
    await stage.supervisor.use(TARGET, prepare=True)
    await stage.phase(ClusterPhase.READY)
    await stage.supervisor.leave()
    refused = driver_protocol.ClusterFailed(
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
    stage.script = lambda driver: driver.say(refused)  # nothing is recorded any more: one attempt
    await stage.supervisor.use(TARGET)
    await stage.phase(ClusterPhase.FAILED)
    assert len(met) == 2
