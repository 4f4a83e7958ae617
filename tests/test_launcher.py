"""`./castray` installs once, detects changes, recovers, and passes all arguments on.

The real launcher runs in a copy of its own; the interpreter, pip and the system's tools around it are
small scripts, so that nothing is installed and no network is used.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from castray_desktop.workers.base.installation import CHINESE_FONT, LIBRARIES, SystemPackage
from tests.helpers.patience import PATIENCE

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="the launcher is a bash script")

# Answers what the launcher asks an interpreter, and records each call of pip.
PYTHON = r"""#!/bin/bash
case "$*" in
  *sys.implementation*) exit 0 ;;
  *ensurepip*) exit 0 ;;
  *platform.python_version*) echo 3.11.9 ;;
  *purelib*) d=$(dirname "$(dirname "$0")")/lib/site-packages; mkdir -p "$d"; echo "$d" ;;
  "-I -m pip --version") exit 0 ;;
  "-I -m pip "*)
    echo "$*" >>"$FAKE_NOTES/pip"
    sleep "${FAKE_PIP_SECONDS:-0}"
    [[ -z $FAKE_PIP_GATE ]] || until [[ -e $FAKE_PIP_GATE ]]; do sleep 0.02; done
    if [ -n "$FAKE_PIP_ERROR" ]; then echo "$FAKE_PIP_ERROR"; exit 1; fi ;;
  "-I -m venv "*) mkdir -p "$4/bin"; cp "$0" "$4/bin/python" ;;
  *) printf '%s\n%s\n' "$PWD" "$(printf '[%s]' "$@")"; [[ $3 != "$FAKE_FAILING" ]] ;;
esac
"""


class Launcher:
    """A copy of the launcher among fake tools."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "a clone"
        self.tools = folder / "tools"
        self.notes = folder / "notes"
        self.elsewhere = folder / "some where"
        for path in (self.root, self.tools, self.notes, self.elsewhere):
            path.mkdir()
        shutil.copy2(ROOT / "castray", self.root)
        (self.root / "requirements.lock").write_text("some-package==1.0 \\\n    --hash=sha256:00\n")
        for name in ("test", "release"):
            lock = self.root / f"requirements-{name}.lock"
            lock.write_text(f"{name}-tool==1.0 \\\n    --hash=sha256:00\n")
        self.tool("python3", PYTHON)
        self.tool("uv", "#!/bin/sh\nexit 127\n")
        self.tool("sudo", '#!/bin/sh\nshift\nexec "$@"\n')
        self.tool("apt-get", '#!/bin/sh\necho "$*" >>"$FAKE_NOTES/apt"\nexit 1\n')
        self.tool("fc-list", "#!/bin/sh\necho /usr/share/fonts/cjk.otf\n")
        self.libraries("libGL.so.1 (libc6,x86-64) => /lib/libGL.so.1")

    def tool(self, name: str, text: str) -> None:
        path = self.tools / name
        path.write_text(text)
        path.chmod(0o755)

    def libraries(self, line: str, *, every: bool = True) -> None:
        """The output of `ldconfig -p`: `line`, and all libraries that the launcher needs."""
        names = " ".join(package.content for package in LIBRARIES)
        each = f"for name in {names}; do echo $name '(x)'; done" if every else ""
        self.tool("ldconfig", f"#!/bin/sh\necho '{line}'\n{each}\n")

    def environment(self, **extra: str) -> dict[str, str]:
        path = f"{self.tools}:/usr/bin:/bin"
        return {"PATH": path, "HOME": str(self.notes), "FAKE_NOTES": str(self.notes), **extra}

    def run(
        self, *arguments: str, program: Path | None = None, **extra: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [program or self.root / "castray", *arguments],
            check=False,
            cwd=self.elsewhere,
            env=self.environment(**extra),
            capture_output=True,
            text=True,
            timeout=50,
        )

    def calls(self, tool: str) -> list[str]:
        note = self.notes / tool
        return note.read_text().splitlines() if note.exists() else []


@pytest.fixture
def launcher(tmp_path: Path) -> Launcher:
    return Launcher(tmp_path)


@pytest.mark.parametrize("script", ["castray", ".ci/run"])
def test_the_scripts_are_executable_and_parse(script: str) -> None:
    assert os.access(ROOT / script, os.X_OK)
    subprocess.run(["bash", "-n", ROOT / script], check=True, timeout=10)


def test_the_first_start_sets_up_and_passes_arguments_and_folder_through(launcher: Launcher) -> None:
    result = launcher.run("send", "two words", "", "--to=all", "*")
    assert result.returncode == 0, result.stderr
    assert (
        result.stdout == f"{launcher.elsewhere}\n[-P][-m][castray_desktop][send][two words][][--to=all][*]\n"
    )
    assert "installing 1 packages" in result.stderr
    (install,) = launcher.calls("pip")
    assert "--require-hashes" in install
    link = launcher.root / ".venv/lib/site-packages/castray_desktop.pth"
    assert link.read_text() == f"{launcher.root}\n"


def test_the_second_start_is_silent_quick_and_installs_nothing(launcher: Launcher) -> None:
    launcher.run("nodes")
    durations = []
    for _ in range(8):  # the best of several, since the machine may be busy
        started = time.perf_counter()
        result = launcher.run("nodes")
        durations.append(time.perf_counter() - started)
        assert (result.returncode, result.stderr) == (0, "")
    assert len(launcher.calls("pip")) == 1
    assert min(durations) < 0.2


def test_a_changed_lock_is_installed_into_the_same_environment(launcher: Launcher) -> None:
    launcher.run("nodes")
    kept = launcher.root / ".venv/kept"
    kept.touch()
    with (launcher.root / "requirements.lock").open("a") as lock:
        lock.write("another==2.0 \\\n    --hash=sha256:00\n")
    assert "installing 2 packages" in launcher.run("nodes").stderr
    assert len(launcher.calls("pip")) == 2
    assert kept.exists()


def test_the_test_tools_are_installed_by_the_first_test_alone(launcher: Launcher) -> None:
    launcher.run("nodes")
    (install,) = launcher.calls("pip")
    assert "requirements-test.lock" not in install

    assert "installing 1 packages from requirements-test.lock" in launcher.run("test", "tests/core").stderr
    (_, tools) = launcher.calls("pip")
    assert "--require-hashes" in tools
    assert tools.endswith(f"-r {launcher.root}/requirements-test.lock")

    for arguments in (["test", "tests/core"], ["nodes"]):
        assert launcher.run(*arguments).stderr == ""
    assert len(launcher.calls("pip")) == 2


def test_a_first_start_for_tests_installs_both_locks(launcher: Launcher) -> None:
    result = launcher.run("test", "tests/core")
    assert "[-m][pytest][tests/core]" in result.stdout
    assert [call.rpartition("/")[2] for call in launcher.calls("pip")] == [
        "requirements.lock",
        "requirements-test.lock",
    ]


def test_a_release_adds_its_tools_to_those_of_tests(launcher: Launcher) -> None:
    launcher.run("test", "tests/core")
    result = launcher.run("release", "a folder")
    assert result.stdout == f"{launcher.root}\n[-P][-m][tools.release][a folder]\n"
    assert [call.rpartition("/")[2] for call in launcher.calls("pip")] == [
        "requirements.lock",
        "requirements-test.lock",
        "requirements-release.lock",
    ]
    assert launcher.run("test", "tests/core").stderr == ""


def test_a_changed_test_lock_concerns_tests_alone(launcher: Launcher) -> None:
    launcher.run("test", "tests/core")
    with (launcher.root / "requirements-test.lock").open("a") as lock:
        lock.write("another-tool==2.0 \\\n    --hash=sha256:00\n")
    assert launcher.run("nodes").stderr == ""
    assert len(launcher.calls("pip")) == 2
    assert "installing 2 packages from requirements-test.lock" in launcher.run("test", "tests/core").stderr
    assert len(launcher.calls("pip")) == 3


def test_test_tools_that_could_not_be_installed_leave_the_program_alone(launcher: Launcher) -> None:
    launcher.run("nodes")
    kept = launcher.root / ".venv/kept"
    kept.touch()
    result = launcher.run("test", "tests/core", FAKE_PIP_ERROR="ERROR: no network")
    assert (result.returncode, result.stdout) == (1, "")
    assert "ERROR: no network" in result.stderr
    assert launcher.run("nodes").stderr == ""

    assert launcher.run("test", "tests/core").returncode == 0
    assert "--force-reinstall" in launcher.calls("pip")[-1]
    assert kept.exists()


def test_a_moved_clone_is_linked_again(launcher: Launcher) -> None:
    launcher.run("nodes")
    launcher.root = launcher.root.rename(launcher.root.with_name("moved"))
    assert launcher.run("nodes").returncode == 0
    link = launcher.root / ".venv/lib/site-packages/castray_desktop.pth"
    assert link.read_text() == f"{launcher.root}\n"


def test_a_failed_set_up_says_why_without_addresses_and_the_next_start_recovers(launcher: Launcher) -> None:
    error = "ERROR: no room, see https://files.example.org/simple/x and host='files.example.org'"
    result = launcher.run("nodes", FAKE_PIP_ERROR=error)
    assert result.returncode == 1
    assert result.stdout == ""
    assert "ERROR: no room" in result.stderr
    assert "run this again" in result.stderr
    assert "example.org" not in result.stderr
    (launcher.root / ".venv/half").touch()

    result = launcher.run("nodes")
    assert result.returncode == 0
    assert "starting over" in result.stderr
    assert not (launcher.root / ".venv/half").exists()


def test_a_killed_set_up_is_started_over(launcher: Launcher, tmp_path: Path) -> None:
    gate = tmp_path / "go on"
    process = subprocess.Popen(
        [launcher.root / "castray", "nodes"],
        env=launcher.environment(FAKE_PIP_GATE=str(gate)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + PATIENCE
        while not launcher.calls("pip"):
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        process.kill()
        process.wait(timeout=PATIENCE)
        gate.touch()  # pip has the lock until it ends

    result = launcher.run("nodes")
    assert result.returncode == 0
    assert "starting over" in result.stderr
    assert len(launcher.calls("pip")) == 2


@pytest.mark.skipif(shutil.which("flock") is None, reason="needs flock")
def test_two_first_starts_set_up_once(launcher: Launcher) -> None:
    processes = [
        subprocess.Popen(
            [launcher.root / "castray", "nodes"],
            env=launcher.environment(FAKE_PIP_SECONDS="0.3"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(2)
    ]
    assert [process.wait(timeout=50) for process in processes] == [0, 0]
    assert len(launcher.calls("pip")) == 1


def test_an_environment_that_a_person_made_is_kept(launcher: Launcher) -> None:
    subprocess.run([launcher.tools / "python3", "-I", "-m", "venv", launcher.root / ".venv"], check=True)
    own = launcher.root / ".venv/own"
    own.touch()
    assert launcher.run("nodes").returncode == 0
    assert own.exists()


def test_a_link_to_the_launcher_works(launcher: Launcher, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.symlink_to("a clone/castray")
    second.symlink_to(first)
    assert launcher.run("--version", program=second).stdout.endswith("[-P][-m][castray_desktop][--version]\n")
    assert (launcher.root / ".venv").is_dir()


def test_an_interpreter_that_does_not_run_is_passed_over(launcher: Launcher) -> None:
    launcher.tool("python3", "#!/bin/sh\necho 'no such version' >&2\nexit 127\n")
    launcher.tool("python3.13", "#!/bin/sh\nexit 127\n")
    launcher.tool("python3.12", PYTHON)
    assert launcher.run("nodes").returncode == 0


def test_arguments_after_test_go_to_pytest_alone(launcher: Launcher) -> None:
    result = launcher.run("test", "tests/core", "-k", "a or b")
    assert result.stdout == f"{launcher.root}\n[-P][-m][pytest][tests/core][-k][a or b]\n"


def test_test_runs_every_check(launcher: Launcher) -> None:
    lines = [line for line in launcher.run("test").stdout.splitlines() if line.startswith("[")]
    assert lines[:2] == ["[-P][-m][ruff][format][--check][.]", "[-P][-m][ruff][check][.]"]
    assert sorted(lines[2:]) == ["[-P][-m][mypy]", "[-P][-m][pytest][-n][auto]"]  # in parallel


@pytest.mark.parametrize("failing", ["ruff", "mypy", "pytest"])
def test_one_check_that_fails_is_enough(launcher: Launcher, failing: str) -> None:
    result = launcher.run("test", FAKE_FAILING=failing)
    assert result.returncode == 1
    assert "some checks failed" in result.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="about the system packages of Linux")
def test_without_qts_libraries_only_the_window_is_refused(launcher: Launcher) -> None:
    launcher.libraries("libEGL.so.1 (x)", every=False)
    result = launcher.run("nodes")
    assert result.returncode == 0
    (install, *_) = [call for call in launcher.calls("apt") if "install" in call]
    assert "libgl1" in install
    assert "libegl1" not in install

    window = launcher.run()
    assert window.returncode == 1
    assert window.stdout == ""
    assert window.stderr.count("\n") == 1
    assert "apt-get install -y libgl1" in window.stderr

    launcher.libraries("libGL.so.1 (x)")
    assert launcher.run().returncode == 0


@pytest.mark.skipif(sys.platform != "linux", reason="about the system packages of Linux")
@pytest.mark.parametrize(
    ("manager", "command"),
    [
        ("dnf", "sudo dnf install -y libglvnd-egl xcb-util-cursor"),
        ("pacman", "sudo pacman -S --noconfirm libglvnd xcb-util-cursor"),
        ("zypper", "the packages that contain: libEGL.so.1 libxcb-cursor.so.0"),
    ],
)
def test_other_distributions_are_told_their_names(launcher: Launcher, manager: str, command: str) -> None:
    (launcher.tools / "apt-get").unlink()
    launcher.tool(manager, "#!/bin/sh\nexit 1\n")
    there = [package.content for package in LIBRARIES if package.apt not in ("libegl1", "libxcb-cursor0")]
    launcher.tool("ldconfig", f"#!/bin/sh\nfor name in {' '.join(there)}; do echo $name '(x)'; done\n")
    # The tools of the system without its package manager.
    names = (
        "bash cat cksum cp dirname env flock grep mkdir mv readlink realpath rm sed sleep sort tail uniq wc"
    )
    for name in names.split():
        if found := shutil.which(name):
            (launcher.tools / name).symlink_to(found)
    result = launcher.run(PATH=str(launcher.tools))
    assert result.returncode == 1
    assert f"install them with: {command} (commands" in result.stderr


def test_the_launcher_names_the_libraries_that_the_program_names() -> None:
    text = (ROOT / "castray").read_text()
    rows = re.search(r"readonly LIBRARIES=\((.*?)\)", text, re.DOTALL)
    font = re.search(r'readonly CHINESE_FONT="(.*)"', text)
    assert rows is not None
    assert font is not None
    assert tuple(SystemPackage(*row.split(":")) for row in rows[1].split()) == LIBRARIES
    assert SystemPackage(*font[1].split(":")) == CHINESE_FONT


# --- a second user of the machine -------------------------------------------------------------------


class SharedLauncher(Launcher):
    """Our copy, started by another user of the machine."""

    def run_as_other(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.root / "castray", "--version"],
            check=False,
            cwd="/",
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=50,
            user="nobody",
            extra_groups=[],
        )


@pytest.fixture
def shared() -> Iterator[SharedLauncher]:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    with tempfile.TemporaryDirectory(prefix="castray-launcher-") as folder:
        Path(folder).chmod(0o755)
        yield SharedLauncher(Path(folder))


def test_another_user_uses_the_owners_environment(shared: SharedLauncher) -> None:
    assert shared.run("--version").returncode == 0
    result = shared.run_as_other()
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "/\n[-P][-m][castray_desktop][--version]\n"
    assert len(shared.calls("pip")) == 1


@pytest.mark.parametrize(
    ("state", "said", "remedy"),
    [
        ("missing", "has not been set up yet", "start it once"),
        ("outdated", "has a .venv that is not up to date", "start it once"),
        ("unreadable", "has a .venv that you may not read", "let others read it"),
        ("private", "has a .venv whose Python you may not run", "let others run it"),
    ],
)
def test_another_user_hears_why_it_can_not_be_used(
    shared: SharedLauncher, state: str, said: str, remedy: str
) -> None:
    venv = shared.root / ".venv"
    if state != "missing":
        assert shared.run("--version").returncode == 0
    if state == "outdated":
        (shared.root / "requirements.lock").write_text("another==1.0\n")
    if state == "unreadable":
        (venv / "castray-stamp").chmod(0o600)
    if state == "private":
        private = shared.notes / "private"
        private.mkdir(mode=0o700)
        (venv / "bin" / "python").rename(private / "python")
        (venv / "bin" / "python").symlink_to(private / "python")
    result = shared.run_as_other()
    assert (result.returncode, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    asked = f"ask root to {remedy}, or create your own clone"
    assert line == f"castray: {shared.root} {said}, and it belongs to root: {asked}"
    assert shared.calls("pip")[1:] == []
