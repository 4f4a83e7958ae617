"""The recipes in deploy/ that need a cluster to run; `python -m tools.try_recipes` runs them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import ray.autoscaler
import yaml

from tools.try_recipes import RECIPES

ROOT = Path(__file__).resolve().parent.parent
DEPLOY = ROOT / "deploy"
RECIPES_PAGE = (ROOT / "docs" / "recipes.md").read_text()

# Fields of KubeRay's `ray.io/v1`, required and optional, from raycluster_types.go and rayjob_types.go.
CLUSTER = (
    {"headGroupSpec"},
    {"workerGroupSpecs", "rayVersion", "enableInTreeAutoscaling", "autoscalerOptions"},
)
HEAD = ({"rayStartParams", "template"}, {"serviceType", "headService", "enableIngress"})
WORKERS = (
    {"groupName", "minReplicas", "maxReplicas", "rayStartParams", "template"},
    {"replicas", "numOfHosts", "scaleStrategy"},
)
JOB = (set(), {"clusterSelector", "entrypoint", "submissionMode", "runtimeEnvYAML", "submitterConfig"})


def manifest(name: str, kind: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((DEPLOY / "kuberay" / name).read_text())
    assert (loaded["apiVersion"], loaded["kind"]) == ("ray.io/v1", kind)
    return loaded


def assert_fields(given: dict[str, Any], known: tuple[set[str], set[str]]) -> None:
    required, optional = known
    assert required <= given.keys() <= required | optional


def test_the_cluster_for_kuberay_has_the_fields_that_kuberay_knows() -> None:
    spec = manifest("raycluster.yaml", "RayCluster")["spec"]
    assert_fields(spec, CLUSTER)
    assert_fields(spec["headGroupSpec"], HEAD)
    for group in spec["workerGroupSpecs"]:
        assert_fields(group, WORKERS)
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        pod = group["template"]["spec"]
        volumes = {volume["name"] for volume in pod["volumes"]}
        for container in pod["containers"]:
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
            assert spec["rayVersion"] in container["image"]


def test_the_job_for_kuberay_selects_the_cluster_and_sends_with_a_real_command() -> None:
    spec = manifest("rayjob.yaml", "RayJob")["spec"]
    assert_fields(spec, JOB)
    cluster = manifest("raycluster.yaml", "RayCluster")["metadata"]["name"]
    assert spec["clusterSelector"] == {"ray.io/cluster": cluster}
    assert_is_command(spec["entrypoint"])


def test_the_settings_of_ray_up_fit_the_schema_of_ray() -> None:
    schema = json.loads(Path(ray.autoscaler.__file__).with_name("ray-schema.json").read_text())
    settings = yaml.safe_load((DEPLOY / "ray-up" / "cluster.yaml").read_text())
    workers = len(settings["provider"]["worker_ips"])
    assert (
        settings.pop("min_workers") == workers
    )  # for `type: local` alone, so that the schema does not have it
    assert settings["max_workers"] == workers
    jsonschema.validate(settings, schema)


def test_recipes_name_the_version_of_ray_that_is_locked() -> None:
    version = metadata.version("ray")
    for name in ("ray-up/cluster.yaml", "kuberay/raycluster.yaml"):
        assert set(re.findall(r"\b2\.\d+\.\d+\b", (DEPLOY / name).read_text())) == {version}, name


def test_the_script_for_slurm_explains_its_use() -> None:
    script = DEPLOY / "slurm" / "castray.sbatch"
    subprocess.run(["bash", "-n", script], check=True, timeout=10)
    done = subprocess.run(["bash", script, "/one"], capture_output=True, text=True, timeout=10, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: sbatch")


@pytest.mark.parametrize(
    "line", [line for line in RECIPES_PAGE.splitlines() if line.startswith("    castray send")]
)
def test_commands_of_the_page_exist(line: str) -> None:
    assert_is_command(line.strip())


def test_every_recipe_that_is_said_to_be_run_can_be_run() -> None:
    assert RECIPES_PAGE.count("(run)\n") == len(RECIPES) + 1  # by hand: tests/lab
    linked = set(re.findall(r"\]\(\.\./(deploy/[^)]*)\)", RECIPES_PAGE))
    assert linked >= {f"deploy/{path}" for path in ("slurm/castray.sbatch", "ray-up/cluster.yaml")}
    assert all((ROOT / path).is_file() for path in linked)


def assert_is_command(line: str) -> None:
    """Assert that a `castray send` line has only options that the command has."""
    shown = subprocess.run(
        [sys.executable, "-P", "-m", "castray_desktop", "send", "--help"],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
        cwd=ROOT,
    )
    words = line.split()
    assert words[:2] == ["castray", "send"]
    assert {word for word in words if word.startswith("--")} <= set(re.findall(r"--[a-z-]+", shown.stdout))
