"""Install and use the program on a bare Debian, in each way that people do: python -m tools.bare_debian

    python -m tools.bare_debian [--only clone,pipx,window,uv] [--work FOLDER] [--suite trixie]

Makes a Debian with Python alone in a folder (debootstrap; kept for the next time), and for each way a
copy of it. There the real commands run, with the real package index: a clone and `./castray`; `pipx
install` of the wheel and a cast; the same with `[window]` and the window's picture; `uv tool install`.
What a copy has started ends with it. Prints sizes and seconds as a table; the pictures are in FOLDER.
Needs root, debootstrap, Xvfb, xdotool and ImageMagick.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT_SECONDS = 1200
FIRST_PAINT_SECONDS = 90
WIDTH, HEIGHT = 1280, 800
PAYLOAD = 20_000_000
HOME = "/root"
PATH = f"{HOME}/.local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# Inside: its own processes, which end with the first of them, and its own mounts.
ENTER = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"]
MOUNTS = (
    'mount -t proc proc "$1/proc" && mount --rbind /dev "$1/dev"'
    ' && mount -t tmpfs -o size=1g tmpfs "$1/dev/shm" && exec chroot "$1" /bin/bash -c "$2"'
)

CAST = f"""
set -e
head -c {PAYLOAD} /dev/urandom >/tmp/payload.bin
castray send /tmp/payload.bin --to all --dest '/tmp/arrived/{{node}}' --json >/tmp/result.json
count=0
for copy in /tmp/arrived/*/payload.bin; do cmp /tmp/payload.bin "$copy"; count=$((count + 1)); done
echo "copies: $count"
castray doctor || true
castray engine stop
"""


@dataclass(frozen=True)
class Row:
    """A line of the table: what was done, how long it took, and how much the disk has more."""

    what: str
    seconds: float
    megabytes: int


class Machine:
    """A copy of the bare Debian."""

    def __init__(self, base: Path, folder: Path, rows: list[Row]) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run(["cp", "-a", "--reflink=auto", base, folder], check=True)
        self.folder = folder
        self._rows = rows

    def start(self, command: str, **environment: str) -> subprocess.Popen[str]:
        """Start a shell command inside."""
        kept = {"PATH": PATH, "HOME": HOME, "LANG": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
        for name in ("PIP_CERT", "SSL_CERT_FILE"):
            if name in os.environ:
                kept[name] = os.environ[name]
        return subprocess.Popen(
            [*ENTER, "sh", "-c", MOUNTS, "sh", self.folder, f"cd {HOME}\n{command}"],
            env=kept | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, command: str, status: int = 0, **environment: str) -> str:
        """Run a shell command inside, which must end with this exit status; returns what it prints."""
        process = self.start(command, **environment)
        output, _ = process.communicate(timeout=TIMEOUT_SECONDS)
        print(f"$ {command.strip()}\n{output}", flush=True)
        if process.returncode != status:
            raise SystemExit(f"exit status {process.returncode} instead of {status}")
        return output

    def measured(self, what: str, command: str) -> None:
        """Run a command, and add its seconds, and what it leaves on the disk, to the table."""
        before, started = self._used(), time.monotonic()
        self.run(command)
        seconds = time.monotonic() - started
        self.run("rm -rf /root/.cache/* /var/cache/apt/archives/*.deb")  # downloads, not what was installed
        self._rows.append(Row(what, seconds, self._used() - before))

    def _used(self) -> int:
        output = subprocess.run(
            ["du", "-sm", "--one-file-system", self.folder], check=True, capture_output=True, text=True
        ).stdout
        return int(output.split()[0])

    def picture(self, command: str, file: Path) -> None:
        """Start the window inside, wait until it is drawn, and keep a picture of the screen."""
        with display() as name:
            process = self.start(command, DISPLAY=name)
            try:
                outside = os.environ | {"DISPLAY": name}
                search = ["xdotool", "search", "--onlyvisible", "--name", "CastRay"]
                deadline = time.monotonic() + FIRST_PAINT_SECONDS
                while subprocess.run(search, env=outside, capture_output=True, check=False).returncode != 0:
                    if process.poll() is not None or time.monotonic() > deadline:
                        process.kill()
                        raise SystemExit(f"no window: {process.communicate()[0]}")
                    time.sleep(0.2)
                time.sleep(5)  # the plot is drawn last
                subprocess.run(["import", "-window", "root", file], env=outside, check=True)
            finally:
                process.kill()
                process.communicate()
        colours = subprocess.run(
            ["identify", "-format", "%k", file], check=True, capture_output=True, text=True
        ).stdout
        if int(colours) < 50:
            raise SystemExit(f"{file} has {colours} colours: nothing is drawn")
        print(f"picture: {file}", flush=True)


@contextlib.contextmanager
def display() -> Iterator[str]:
    """A screen. A program in a chroot reaches it too: its socket's name is one of the network's namespace."""
    reader, writer = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(writer), "-screen", "0", f"{WIDTH}x{HEIGHT}x24", "-nolisten", "tcp"],
        pass_fds=[writer],
        stderr=subprocess.DEVNULL,
    )
    os.close(writer)
    try:
        with os.fdopen(reader) as told:
            yield f":{told.readline().strip()}"
    finally:
        server.terminate()
        server.wait()


def bare_debian(suite: str, folder: Path) -> Path:
    """A Debian that has Python and nothing else, made once."""
    base = folder / suite
    if not (base / "usr/bin/python3").exists():
        packages = "--include=ca-certificates,python3"
        subprocess.run(["debootstrap", "--variant=minbase", packages, suite, base], check=True)
    shutil.copy2("/etc/resolv.conf", base / "etc/resolv.conf")
    shutil.copy2("/etc/ssl/certs/ca-certificates.crt", base / "etc/ssl/certs/ca-certificates.crt")
    return base


def from_clone(machine: Machine, wheel: Path, work: Path) -> None:
    """README's two commands."""
    del wheel
    subprocess.run(
        ["git", "bundle", "create", "-q", machine.folder / "root/castray.bundle", "HEAD"],
        cwd=ROOT,
        check=True,
    )
    machine.run("apt-get update -qq && apt-get install -y -qq --no-install-recommends git")
    machine.measured(
        "clone, and the first `./castray`: window, API, system libraries",
        "git clone -q castray.bundle castray-desktop && cd castray-desktop && ./castray --version",
    )
    started = time.monotonic()
    machine.run("cd castray-desktop && ./castray --version")
    print(f"the second start took {time.monotonic() - started:.2f} s")
    machine.picture("cd castray-desktop && ./castray", work / "clone.png")
    machine.run("mkdir -p ~/.local/bin && ln -s ~/castray-desktop/castray ~/.local/bin/")
    machine.run(CAST)
    machine.measured(
        "the first `./castray test` on top of it",
        "cd castray-desktop && ./castray test -q tests/core/content",
    )


def by_pipx(machine: Machine, wheel: Path, work: Path) -> None:
    """The base alone: the command line."""
    del work
    machine.run("apt-get update -qq && apt-get install -y -qq --no-install-recommends pipx")
    machine.measured("`pipx install` of the wheel: the command line", f"pipx install ./{wheel.name}")
    machine.run("castray --version")
    machine.run(CAST)
    said = machine.run("castray", status=2, DISPLAY=":1")
    assert "castray-desktop[window]" in said
    assert "castray-desktop[serve]" in machine.run("castray serve", status=2)


def by_pipx_with_window(machine: Machine, wheel: Path, work: Path) -> None:
    """The window, with the system packages that the program itself names."""
    machine.run("apt-get update -qq && apt-get install -y -qq --no-install-recommends pipx")
    machine.measured("`pipx install` with `[window]`", f"pipx install './{wheel.name}[window]'")
    said = machine.run("castray", status=2, DISPLAY=":1")
    named = re.search(r"sudo (apt-get install -y .*)", said)
    assert named is not None, said
    machine.measured("the system packages that it names", f"{named[1]} --no-install-recommends")
    machine.picture("castray", work / "window.png")
    machine.run(CAST)


def by_uv(machine: Machine, wheel: Path, work: Path) -> None:
    """Everything, by uv."""
    del work
    machine.run(
        "apt-get update -qq && apt-get install -y -qq --no-install-recommends pipx && pipx install -q uv"
    )
    machine.measured(
        "`uv tool install` with `[window,serve]`", f"uv tool install -q './{wheel.name}[window,serve]'"
    )
    machine.run("castray --version")


WAYS: dict[str, Callable[[Machine, Path, Path], None]] = {
    "clone": from_clone,
    "pipx": by_pipx,
    "window": by_pipx_with_window,
    "uv": by_uv,
}


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.bare_debian")
    parser.add_argument("--only", default=",".join(WAYS), metavar="WAY,WAY")
    parser.add_argument("--work", type=Path, default=Path("/var/tmp/castray-bare-debian"), metavar="FOLDER")
    parser.add_argument("--suite", default="trixie")
    options = parser.parse_args(arguments)
    work = options.work.absolute()
    work.mkdir(parents=True, exist_ok=True)
    base = bare_debian(options.suite, work)
    subprocess.run(
        [sys.executable, "-P", "-m", "hatchling", "build", "-t", "wheel", "-d", work], cwd=ROOT, check=True
    )
    (wheel,) = work.glob("castray_desktop-*.whl")
    rows: list[Row] = []
    for way in options.only.split(","):
        machine = Machine(base, work / f"{options.suite}-{way}", rows)
        shutil.copy2(wheel, machine.folder / "root")
        WAYS[way](machine, wheel, work)
        shutil.rmtree(machine.folder)
    print("| what | seconds | MB on disk |\n| --- | --- | --- |")
    for row in rows:
        print(f"| {row.what} | {row.seconds:.0f} | {row.megabytes} |")


if __name__ == "__main__":
    main(sys.argv[1:])
