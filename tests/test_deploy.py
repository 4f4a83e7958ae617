"""What deploy/ has: dashboard and alert rules agree with the metrics that the code exports, the tools of
Prometheus and systemd accept the files, and the image's recipe names what exists.
"""

from __future__ import annotations

import http.server
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from prometheus_client.parser import text_string_to_metric_families

from castray_desktop.core.protocol import messages as m
from castray_desktop.workers.http_api.engine_view import prometheus_text
from tests.helpers.answering_engine import STATISTICS, AnsweringEngine

ROOT = Path(__file__).resolve().parent.parent
DEPLOY = ROOT / "deploy"
PROMETHEUS = DEPLOY / "prometheus"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
OF_PROMETHEUS = {"job", "instance"}

_SELECTOR = re.compile(r"\b(castray_\w+|up)\b(?:\{([^}]*)\})?")
_LABEL = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")


def needs(program: str) -> pytest.MarkDecorator:
    """Skip without this program; where CI says that everything is here, fail."""
    missing = shutil.which(program) is None and not os.environ.get("CI")
    return pytest.mark.skipif(missing, reason=f"needs {program}")


def exported() -> dict[str, set[str]]:
    """The names of all metrics with their labels, as Prometheus stores them."""
    cache = AnsweringEngine().cache
    cache.apply_event(m.Throughput(1.0, 6.0, 2.0, (m.NodeRate("node_1", 6.0, 2.0),)))
    text = prometheus_text(cache, True, STATISTICS).decode()
    labels: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        assert family.samples, f"{family.name} has no sample, so that its labels can't be seen"
        for sample in family.samples:
            labels.setdefault(sample.name, set()).update(sample.labels)
    return labels


def dashboard() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((DEPLOY / "grafana" / "castray.json").read_text())
    return loaded


def dashboard_queries() -> list[str]:
    return [target["expr"] for panel in dashboard()["panels"] for target in panel["targets"]]


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((PROMETHEUS / "castray.rules.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def used(queries: list[str]) -> Iterator[tuple[str, set[str]]]:
    """The metrics of queries, each with the labels that a selector names."""
    for query in queries:
        for name, selector in _SELECTOR.findall(query):
            yield name, set(_LABEL.findall(selector))


@pytest.mark.parametrize(
    "queries", [dashboard_queries(), [rule["expr"] for rule in rules()]], ids=["dashboard", "rules"]
)
def test_queries_name_metrics_and_labels_that_exist(queries: list[str]) -> None:
    known = exported() | {"up": set()}
    assert queries
    unknown = [
        (name, labels)
        for name, labels in used(queries)
        if name not in known or not labels <= known[name] | OF_PROMETHEUS
    ]
    assert unknown == []


def test_labels_that_results_are_grouped_by_exist() -> None:
    """Also those of legends: `{{node}}`."""
    known = exported()
    wrong = []
    for panel in dashboard()["panels"]:
        for target in panel["targets"]:
            grouped = re.findall(r"by \((\w+)\)", target["expr"])
            shown = re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])
            of_metrics = set().union(*(known[name] for name, _ in used([target["expr"]])))
            wrong += [(panel["title"], label) for label in grouped + shown if label not in of_metrics]
    assert wrong == []


def test_the_dashboard_shows_every_metric() -> None:
    assert set(exported()) - {name for name, _ in used(dashboard_queries())} == set()


def test_states_in_queries_exist() -> None:
    states = {state.value for kind in (m.NodeState, m.CastState) for state in kind} | {"failed", "delivered"}
    queries = dashboard_queries() + [rule["expr"] for rule in rules()]
    named = re.findall(r'(?:state|outcome)="(\w+)"', " ".join(queries))
    assert len(named) > 3
    assert set(named) <= states


def test_panels_of_the_dashboard_lie_side_by_side() -> None:
    cells: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        own = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not own & cells, panel["title"]
        assert place["x"] + place["w"] <= 24
        cells |= own
    ids = [panel["id"] for panel in dashboard()["panels"]]
    assert len(set(ids)) == len(ids)


@needs("promtool")
def test_promtool_accepts_rules_and_queries(tmp_path: Path) -> None:
    """The rules do what their own tests say; the queries of the dashboard are checked as rules too."""
    for arguments in (["check", "rules", "castray.rules.yml"], ["test", "rules", "castray.rules.test.yml"]):
        run(["promtool", *arguments], PROMETHEUS)
    values = {"$instance": ".*", "$__range": "1h", "$__rate_interval": "1m"}
    queries = dashboard_queries()
    for variable, value in values.items():
        queries = [query.replace(variable, value) for query in queries]
    recorded = [{"record": f"panel:{number}", "expr": query} for number, query in enumerate(queries)]
    path = tmp_path / "queries.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": recorded}]}))
    run(["promtool", "check", "rules", str(path)], tmp_path)


@needs("systemd-analyze")
@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_systemd_accepts_the_unit(unit: Path, tmp_path: Path) -> None:
    """Unknown settings are warnings there; a warning is an error here."""
    program = tmp_path / ".local" / "bin" / "castray"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    variables = {**os.environ, "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(runtime)}
    run(["systemd-analyze", "--user", "verify", "--man=no", str(unit)], tmp_path, variables)


# --- the image


def containerfile() -> str:
    return (DEPLOY / "Containerfile").read_text()


def test_the_image_leaves_out_what_the_window_alone_needs() -> None:
    """The names are in a pattern there. The build fails if one too many is left out."""
    (pattern,) = re.findall(r"!~ /\^\(([^)]*)\)==/", containerfile())
    left_out = set(pattern.split("|"))
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    window = {canonicalize_name(Requirement(line).name) for line in extras["window"]}
    locked = set(re.findall(r"^([\w.-]+)==", (ROOT / "requirements.lock").read_text(), re.M))
    assert window <= left_out <= locked


def test_files_that_the_image_copies_exist_and_are_not_ignored() -> None:
    ignored = (ROOT / ".containerignore").read_text().split()
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", containerfile(), re.M)
    assert copied
    assert [path for path in copied if not (ROOT / path).exists() or path in ignored] == []


class Api(http.server.BaseHTTPRequestHandler):
    """Answers as `GET /api/status` does, with the server's state."""

    def do_GET(self) -> None:
        known = self.path == "/api/status" and self.headers["Authorization"] == "Bearer the-token"
        body = json.dumps({"state": self.server.state}).encode()  # type: ignore[attr-defined]
        self.send_response(200 if known else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(("state", "status"), [("running", 0), ("away", 1)])
def test_the_health_check_asks_the_api(tmp_path: Path, state: str, status: int) -> None:
    (tmp_path / "api-token").write_text("the-token\n")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Api) as server:
        server.state = state  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            assert health(tmp_path, f"http://127.0.0.1:{server.server_port}") == status
            (tmp_path / "api-token").write_text("another\n")
            assert health(tmp_path, f"http://127.0.0.1:{server.server_port}") == 1
        finally:
            server.shutdown()
            thread.join()


def test_the_health_check_fails_without_a_server(tmp_path: Path) -> None:
    (tmp_path / "api-token").write_text("the-token\n")
    with socket.socket() as bound:  # taken, and nobody listens
        bound.bind(("127.0.0.1", 0))
        assert health(tmp_path, f"http://127.0.0.1:{bound.getsockname()[1]}") == 1


def health(home: Path, address: str) -> int:
    variables = os.environ | {"CASTRAY_HOME": str(home), "CASTRAY_HEALTH_URL": address}
    command = [sys.executable, "-P", str(DEPLOY / "healthcheck.py")]
    return subprocess.run(command, env=variables, capture_output=True, check=False, timeout=30).returncode


def run(command: list[str], folder: Path, variables: dict[str, str] | None = None) -> None:
    """Run a checker that has to succeed and to print nothing on standard error."""
    done = subprocess.run(
        command, cwd=folder, env=variables, capture_output=True, text=True, check=False, timeout=50
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
