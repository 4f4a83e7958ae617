"""Fixtures for every test: no screen, no leftovers, a temporary home; and the distribution over processes."""

from __future__ import annotations

import contextlib
import fcntl
import gc
import os
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from castray_desktop.workers.base.paths import Paths
    from tests.helpers.engine_home import EngineHome
    from tests.helpers.servers.s3_server import S3Server

SCREEN = Path(__file__).parent / "screen.json"  # Qt's own offscreen screen is smaller than the window
os.environ.setdefault("QT_QPA_PLATFORM", f"offscreen:configfile={SCREEN}")
os.environ.setdefault("QT_API", "pyside6")
os.environ.setdefault("PYTEST_QT_API", "pyside6")

# Neither the time of an example nor that of making it up is asserted: a busy machine needs longer.
settings.register_profile("castray", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("castray")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, Any, Any]:
    """Whatever is made until all tests are collected stays: no garbage collection looks at it."""
    gc.disable()
    try:
        with _modules_compiled_once():
            return (yield)
    finally:
        gc.freeze()
        gc.enable()


@contextlib.contextmanager
def _modules_compiled_once() -> Iterator[None]:
    """Of several processes the first one compiles all modules of tests, which takes longer than the rest of
    the collection; the others wait, and read its byte code.
    """
    with Path(__file__).open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            fcntl.flock(lock, fcntl.LOCK_SH)
            fcntl.flock(lock, fcntl.LOCK_UN)
        yield


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Three more than there are processors: many tests wait for something."""
    return (os.cpu_count() or 1) + 3


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from tests.helpers.sharing import Sharing

    return Sharing(config, log)


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    """A home without an engine."""
    from castray_desktop.workers.base.paths import Paths

    paths = Paths(tmp_path, tmp_path / "run" / "s.sock")
    paths.prepare()
    return paths


@pytest.fixture
async def engine_home(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[EngineHome]:
    """An engine in that home, which checks its clock often and ends with the test."""
    from castray_desktop.workers.engine import process
    from tests.helpers.engine_home import EngineHome

    monkeypatch.setattr(process, "CHECK_SECONDS", 0.005)
    engine_home = EngineHome(paths)
    yield engine_home
    engine_home.engine.commands.stopping.set()
    await engine_home.ended()


@pytest.fixture
def no_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this machine has, no test uses it, and none asks a metadata service."""
    from castray_desktop.workers.sources import object_store_access

    for name in list(os.environ):
        if name.startswith(("AWS_", "GOOGLE_", "AZURE_", "CLOUDSDK_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "gcloud"))
    monkeypatch.setattr(object_store_access, "VENDOR_FILE", tmp_path / "vendor")


@pytest.fixture(scope="session")
def s3_process() -> Iterator[S3Server]:
    """An S3 server for all tests of this process."""
    from tests.helpers.servers.s3_server import s3_server

    with s3_server() as server:
        yield server


@pytest.fixture
def s3(
    s3_process: S3Server, no_credentials: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[S3Server]:
    """An empty server, with keys for it in the environment."""
    s3_process.reset()
    for name, value in s3_process.environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    yield s3_process
    s3_process.check_keys(float("inf"))
