"""Commands after a delivery: off unless the node's owner allows them, and without effect on the delivery."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from castray_desktop.workers.agent.hooks import DONE, HookRules, read_rules, rules_path, run_hook

ANY = HookRules(allowed=True, seconds=20.0)


def write_rules(path: Path, rules: Any, mode: int = 0o600) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(rules if isinstance(rules, str) else json.dumps(rules))
    path.chmod(mode)
    return path


def run(command: str, folder: Path, rules: HookRules = ANY, stopped: Any = lambda: False) -> str:
    return run_hook(command, rules, {"CASTRAY_NODE": "node_1"}, str(folder), stopped)


def python(code: str) -> str:
    return shlex.join([sys.executable, "-c", code])


def test_nothing_is_allowed_without_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    rules = read_rules(rules_path())
    assert not rules.allowed
    status = run("touch x", tmp_path, rules)
    assert status.startswith("not allowed on this node")
    assert str(tmp_path / "castray" / "node.json") in status
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"hooks": True}, HookRules(True)),
        ({"hooks": True, "hook_seconds": 5}, HookRules(True, None, 5.0)),
        ({"hooks": ["touch"]}, HookRules(True, ("touch",))),
        ({"hooks": True, "hook_seconds": 0}, HookRules(True, None, 1.0)),
    ],
)
def test_the_rules_of_the_nodes_owner(tmp_path: Path, given: Any, expected: HookRules) -> None:
    assert read_rules(write_rules(tmp_path / "node.json", given)) == expected


@pytest.mark.parametrize(
    "given", [{}, {"hooks": False}, {"hooks": "yes"}, {"hooks": 1}, "nonsense", [], "null"]
)
def test_anything_else_allows_nothing(tmp_path: Path, given: Any) -> None:
    rules = read_rules(write_rules(tmp_path / "node.json", given))
    assert not rules.allowed
    assert rules.why_not


def test_a_file_that_others_could_write_allows_nothing(tmp_path: Path) -> None:
    rules = read_rules(write_rules(tmp_path / "node.json", {"hooks": True}, 0o666))
    assert not rules.allowed
    assert "can be changed by other users" in rules.why_not


def test_it_runs_in_the_destination_with_its_variables(tmp_path: Path) -> None:
    code = "import os; open('seen', 'w').write(os.environ['CASTRAY_NODE'] + ' ' + os.getcwd())"
    assert run(python(code), tmp_path) == DONE
    assert (tmp_path / "seen").read_text() == f"node_1 {tmp_path}"


def test_there_is_no_shell_and_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "secret")
    code = (
        "import os, sys, json; json.dump([sys.argv[1:], 'RAY_AUTH_TOKEN' in os.environ], open('seen', 'w'))"
    )
    assert run(f"{python(code)} '$HOME;' && touch y", tmp_path) == DONE
    assert json.loads((tmp_path / "seen").read_text()) == [["$HOME;", "&&", "touch", "y"], False]
    assert not (tmp_path / "y").exists()


@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("'unclosed", "not a command: No closing quotation"),
        ("  ", "not a command: it is empty"),
        ("/no/such/program", "could not be started"),
        ("false", "exited with status 1"),
        (python("import sys; print('no', 'disk'); sys.exit(3)"), "exited with status 3: no disk"),
        (python("import os; os.kill(os.getpid(), 9)"), "was killed by signal 9"),
    ],
)
def test_the_result_gives_the_reason_of_a_failure(tmp_path: Path, command: str, status: str) -> None:
    assert run(command, tmp_path).startswith(status)


NAMES = (b"/in/plain", b"/in/two\nlines", b"/in/latin \xe4", b"/in/ - 'quoted' $HOME")


def test_all_bytes_of_a_name_are_kept(tmp_path: Path) -> None:
    hook = (
        'cp "$CASTRAY_PATHS_FILE" names; stat -c %a "$CASTRAY_PATHS_FILE" > mode; '
        'echo "$CASTRAY_PATHS_FILE" > where; '
    )
    command = shlex.join(["sh", "-c", hook + "env -0 > variables"])
    assert run_hook(command, ANY, {}, str(tmp_path), bool, NAMES) == DONE
    assert (tmp_path / "names").read_bytes() == b"".join(name + b"\0" for name in NAMES)
    assert (tmp_path / "mode").read_text() == "600\n"
    assert not Path((tmp_path / "where").read_text().strip()).exists()
    assert b"\0CASTRAY_PATHS=" not in b"\0" + (tmp_path / "variables").read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_the_variable_of_lines_is_set_only_if_it_is_unambiguous(tmp_path: Path, name: bytes) -> None:
    command = shlex.join(["sh", "-c", 'printf %s "${CASTRAY_PATHS-none}" > lines'])
    assert run_hook(command, ANY, {}, str(tmp_path), bool, (b"/in/x", name)) == DONE
    plain = name in (NAMES[0], NAMES[3])
    assert (tmp_path / "lines").read_bytes() == (b"/in/x\n" + name if plain else b"none")


def test_a_hundred_thousand_names_are_no_reason_not_to_start(tmp_path: Path) -> None:
    names = [b"/in/%d" % number for number in range(100_000)]
    command = shlex.join(["sh", "-c", 'tr -cd "\\000" < "$CASTRAY_PATHS_FILE" | wc -c > count'])
    assert run_hook(command, ANY, {}, str(tmp_path), bool, names) == DONE
    assert int((tmp_path / "count").read_text()) == 100_000


def test_other_programs_than_those_on_the_list(tmp_path: Path) -> None:
    rules = HookRules(True, ("true",), 20.0)
    assert run("true", tmp_path, rules) == DONE
    assert "touch is not in its list" in run("touch x", tmp_path, rules)


def test_only_the_end_of_much_output_is_kept(tmp_path: Path) -> None:
    code = "print('x' * 5_000_000); print('the end'); raise SystemExit(1)"
    status = run(python(code), tmp_path)
    assert status.endswith("the end")
    assert len(status) < 700


def test_one_that_does_not_end_is_ended_with_its_children(tmp_path: Path) -> None:
    status = run(shlex.join(["sh", "-c", "sleep 60 & echo $!; wait"]), tmp_path, HookRules(True, None, 1.0))
    assert status.startswith("stopped after 1 s because it had not finished: ")
    child = int(status.rpartition(" ")[2])
    deadline = time.monotonic() + 10
    while _alive(child):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_one_that_prints_without_an_end_is_ended(tmp_path: Path) -> None:
    status = run("yes", tmp_path, HookRules(True, None, 1.0))
    assert status.startswith("stopped after 1 s")
    assert len(status) < 700


def test_one_that_leaves_a_child_behind_is_not_waited_for(tmp_path: Path) -> None:
    code = (
        "import subprocess; child = subprocess.Popen(['sleep', '60'], start_new_session=True);"
        "open('child', 'w').write(str(child.pid)); print('x', flush=True)"
    )
    assert run(python(code), tmp_path) == DONE
    os.kill(int((tmp_path / "child").read_text()), 9)


def test_a_cancelled_cast_ends_it(tmp_path: Path) -> None:
    stop = threading.Event()
    code = f"open({str(tmp_path / 'begun')!r}, 'w').close(); import time; time.sleep(60)"

    def stopped() -> bool:
        if (tmp_path / "begun").exists():
            stop.set()
        return stop.is_set()

    assert run(python(code), tmp_path, stopped=stopped) == "stopped because the cast was cancelled"


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return os.path.exists(f"/proc/{pid}")  # noqa: PTH110 - of a process


def test_a_killed_agent_takes_its_hook_along(tmp_path: Path) -> None:
    """Also the child process that the hook has started."""
    hook = 'echo "$CASTRAY_PATHS_FILE" > list; sleep 60 & echo $$ $! > pids.new; mv pids.new pids; wait'
    code = (
        "from castray_desktop.workers.agent.hooks import HookRules, run_hook\n"
        f"run_hook({shlex.join(['sh', '-c', hook])!r}, HookRules(True), {{}}, {str(tmp_path)!r}, bool)"
    )
    agent = subprocess.Popen([sys.executable, "-c", code])
    try:
        pids = tmp_path / "pids"
        wait_until(pids.exists)
        agent.kill()
        agent.wait()
        wait_until(lambda: not any(alive(pid) for pid in map(int, pids.read_text().split())))
        listed = Path((tmp_path / "list").read_text().strip())
        wait_until(lambda: not listed.exists())
    finally:
        agent.kill()
        agent.wait()


def test_an_agent_that_is_killed_as_soon_as_its_hook_runs_takes_it_along(tmp_path: Path) -> None:
    """It has not told the guard about the hook yet."""
    hook = 'echo "$CASTRAY_PATHS_FILE" $$ > seen.new; mv seen.new seen; exec sleep 60'
    code = (
        "import os, signal\n"
        "from castray_desktop.workers.agent import hooks\n"
        "hooks._tell_guard = lambda guard, group: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"command = {shlex.join(['sh', '-c', hook])!r}\n"
        f"hooks.run_hook(command, hooks.HookRules(True), {{}}, {str(tmp_path)!r}, bool)"
    )
    agent = subprocess.Popen([sys.executable, "-c", code])
    try:
        assert agent.wait(20) == -signal.SIGKILL
        seen = tmp_path / "seen"
        wait_until(seen.exists)
        listed, pid = seen.read_text().split()
        wait_until(lambda: not alive(int(pid)))
        wait_until(lambda: not Path(listed).exists())
    finally:
        agent.kill()
        agent.wait()


def alive(pid: int) -> bool:
    """Whether it runs; a zombie process does not count."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.01)
