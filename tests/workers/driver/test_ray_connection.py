"""Ray's messages about version mismatches, in the words of Ray 2.40 to 2.60."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest
from ray._private.runtime_env.packaging import create_package

import castray_desktop
from castray_desktop.core.failures.kinds import Failure, FailureKind
from castray_desktop.core.failures.sentences import sentence
from castray_desktop.workers.driver import ray_connection

TARGET = "10.0.0.1:6379"
SAID = (
    "Version mismatch: The cluster was started with:\n    Ray: 2.49.2\n    Python: 3.12.1\n"
    "This process on node 10.0.0.2 was started with:\n    Ray: 2.60.0\n    Python: 3.11.7\n"
)


@pytest.mark.parametrize("said", [SAID, f"Traceback (most recent call last):\n  ...\nRuntimeError: {SAID}"])
def test_the_clusters_versions_are_found(said: str) -> None:
    failure = ray_connection.join_failure(TARGET, said).failure
    assert failure.kind is FailureKind.RAY_DIFFERS
    assert (failure.values["ray"], failure.values["python"]) == ("2.49.2", "3.12.1")
    assert failure.values["own_ray"]


def test_another_reason_is_its_last_line() -> None:
    said = "Traceback (most recent call last):\n  ...\nConnectionError: no such address\n\n"
    failure = ray_connection.join_failure(TARGET, said).failure
    assert failure == Failure(
        FailureKind.JOIN_FAILED, {"target": TARGET, "reason": "ConnectionError: no such address"}
    )


@pytest.mark.parametrize(
    ("environment", "kind"),
    [
        ({}, FailureKind.TOKEN_NEEDED),
        ({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}, FailureKind.TOKEN_WRONG),
    ],
)
def test_joining_without_the_token_has_a_token_failure(
    environment: dict[str, str], kind: FailureKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    said = (
        "ray.exceptions.AuthenticationError: RPC error: InvalidAuthToken: Authentication token is missing or"
        " incorrect. Note: RAY_AUTH_MODE is currently 'disabled' (not 'token')."
    )
    failure = ray_connection.join_failure(TARGET, said).failure
    assert failure.kind is kind
    assert "ray.exceptions" not in sentence(failure)


def test_pictures_and_the_window_are_not_shipped_from_a_wheel(tmp_path: Path) -> None:
    package = tmp_path / "castray_desktop"
    shutil.copytree(Path(castray_desktop.__file__).parent, package)
    (package / "resources").mkdir(exist_ok=True)
    (package / "resources" / "window.png").write_bytes(bytes(100))
    packed = tmp_path / "package.zip"
    create_package(
        str(package), packed, True, include_parent_dir=True, excludes=list(ray_connection.NOT_SHIPPED)
    )
    with zipfile.ZipFile(packed) as opened:
        names = set(opened.namelist())
    of_workers = {name.split("/")[2] for name in names if name.startswith("castray_desktop/workers/")}
    assert of_workers == {"agent", "driver", "__init__.py"}
    folders = {name.split("/")[1] for name in names}
    assert {"core", "workers", "__init__.py"} <= folders
    assert not folders & {"ui", "cli", "python", "resources"}
    assert not any("__pycache__" in name for name in names)
    assert "castray_desktop/workers/agent/node_agent.py" in names
    assert packed.stat().st_size < 1_500_000
