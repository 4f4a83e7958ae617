"""One real run: where it listens, what it says of its secrets, and who may read its files.

`SOCKETS` is the list of all sockets that CastRay opens. A socket of the run that is not in the list fails the
test, and so does one in the list that was not seen.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.strangers.watched_run import DATA_PORTS, Listening, WatchedRun

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(400)]

NOBODY = 65534


# --- where it listens -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class KnownSocket:
    """A socket that we open. `is_right` says whether it is bound to what it should be."""

    name: str
    is_it: Callable[[Listening, WatchedRun], bool]
    is_right: Callable[[Listening, WatchedRun], bool]
    stranger: str  # what somebody without the secret gets from it


def own_address(found: Listening, run: WatchedRun) -> str:
    return next(host.address for host in run.lab.hosts if host.name == found.host)


def is_at_own_address(found: Listening, run: WatchedRun) -> bool:
    return found.address == own_address(found, run)


def is_private(found: Listening, run: WatchedRun) -> bool:
    """A socket of mode 0600 in a folder of mode 0700."""
    path = Path(found.where)
    return stat.S_IMODE(run.modes[path]) == 0o600 and stat.S_IMODE(run.modes[path.parent]) == 0o700


def ends_with(*endings: str) -> Callable[[Listening, WatchedRun], bool]:
    return lambda found, run: found.kind == "unix" and found.where.endswith(endings)


SOCKETS = (
    KnownSocket(
        "data port",
        lambda found, run: found.kind == "tcp" and DATA_PORTS[0] <= found.port <= DATA_PORTS[1],
        is_at_own_address,
        "a refusal, see test_replay.py",
    ),
    KnownSocket(
        "the API",
        lambda found, run: found.kind == "tcp" and found.where == run.api.rpartition("/")[2],
        is_at_own_address,
        "401, see test_access_control.py",
    ),
    KnownSocket(
        "multicast, receiving",
        lambda found, run: found.kind == "udp" and found.address.startswith("239."),
        lambda found, run: True,  # bound to the group; the kernel takes datagrams of the source alone
        "nothing: datagrams need a tag, and a piece its digest",
    ),
    KnownSocket(
        "multicast, sending",
        lambda found, run: found.kind == "udp" and not found.address.startswith("239."),
        is_at_own_address,
        "nothing: reports need a tag",
    ),
    KnownSocket("data, local", lambda found, run: "/bp-" in found.where, is_private, "a refusal"),
    KnownSocket(
        "engine",
        lambda found, run: found.where in {str(run.paths(home).socket) for home in run.homes},
        is_private,
        "other users can't connect",
    ),
    KnownSocket("window", ends_with(".window"), is_private, "other users can't connect"),
)

RAY = re.compile(r"gcs_server|raylet|plasma|ray::|ray/|ray\.|ray_driver|default_worker|setup_worker")
"""Processes of Ray, and those in which Ray's own servers run: workers and drivers."""


def test_every_socket_is_in_the_list(watched: WatchedRun) -> None:
    seen: dict[str, set[Listening]] = {known.name: set() for known in SOCKETS}
    others = []
    for found in watched.listening:
        known = next((known for known in SOCKETS if known.is_it(found, watched)), None)
        if known is not None:
            seen[known.name].add(found)
        elif not is_of_ray(found, watched):
            others.append(found)
    assert others == []
    assert [name for name, sockets in seen.items() if not sockets] == []
    assert len(seen["data port"]) >= 4  # each of the hosts has an agent


def is_of_ray(found: Listening, run: WatchedRun) -> bool:
    """Whether it belongs to Ray. All that Ray opens on a network needs its token."""
    if found.kind == "unix":
        return "/session_" in found.where
    return RAY.search(found.process) is not None


def test_every_socket_is_bound_to_the_address_of_its_node_alone(watched: WatchedRun) -> None:
    wrong = [
        found
        for found in watched.listening
        for known in SOCKETS
        if known.is_it(found, watched) and not known.is_right(found, watched)
    ]
    assert wrong == []


def test_ray_answers_nobody_without_its_token(watched: WatchedRun) -> None:
    """The shared cluster, asked from another host. Its ports are Ray's, and so is the answer."""
    assert watched.without_token.startswith("1 ")
    assert "UNAUTHENTICATED" in watched.without_token.upper()


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to try it as another user")
def test_other_users_do_not_reach_unix_sockets(watched: WatchedRun) -> None:
    """Tried on sockets with the same modes: that of the folder is enough, and so is that of the socket."""
    ours = {found.where for found in watched.listening if found.kind == "unix" and is_known(found, watched)}
    modes = {(watched.modes[Path(where).parent], watched.modes[Path(where)]) for where in ours}
    assert len(ours) >= 5
    for of_folder, of_socket in modes:
        assert not may_connect(of_folder, 0o666)
        assert not may_connect(0o755, of_socket)
    assert may_connect(0o755, 0o666)


def may_connect(of_folder: int, of_socket: int) -> bool:
    """Whether another user may connect to a socket with these modes."""
    code = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
    with tempfile.TemporaryDirectory() as above, socket.socket(socket.AF_UNIX) as listener:
        folder, path = Path(above) / "folder", Path(above) / "folder" / "socket"
        folder.mkdir()
        listener.bind(str(path))
        listener.listen()
        path.chmod(stat.S_IMODE(of_socket))
        folder.chmod(stat.S_IMODE(of_folder))
        Path(above).chmod(0o755)
        python = shutil.which("python3", path="/usr/bin:/bin") or sys.executable  # that others may run
        tried = subprocess.run(
            [python, "-c", code, str(path)],
            user=NOBODY,
            group=NOBODY,
            capture_output=True,
            text=True,
            check=False,
        )
        assert tried.returncode == 0 or "PermissionError" in tried.stderr, tried.stderr
        return tried.returncode == 0


def is_known(found: Listening, run: WatchedRun) -> bool:
    return any(known.is_it(found, run) for known in SOCKETS)


# --- its secrets ----------------------------------------------------------------------------------------

HOLDERS = ("api-token", "share-token", "ray-token")
"""Files whose purpose it is."""


def test_the_run_had_secrets(watched: WatchedRun) -> None:
    makers = " ".join(watched.secrets().values())
    for maker in ("source_failover", "access_control", "cluster_sharing", "connection", "Ray's token"):
        assert maker in makers


def test_no_secret_is_written_anywhere(watched: WatchedRun) -> None:
    """Files of homes, destinations and Ray's folders, logs at DEBUG, output, answers of the API."""
    everything = {
        **{path: data for path, data in watched.written.items() if not path.endswith(HOLDERS)},
        **watched.logged(),
        **{f"output of {name}": text.encode() for name, text in watched.outputs},
    }
    assert len(everything) > 60
    assert any(path.endswith("engine.log") for path in everything)
    assert any("/casts/" in path for path in everything)  # a checkpoint
    assert any(path.endswith("history.sqlite") for path in everything)
    forms = watched.forms()
    found = [
        (path, maker, data[max(data.index(form) - 80, 0) : data.index(form)])
        for path, data in everything.items()
        for form, maker in forms.items()
        if form in data
    ]
    assert found == []


def test_no_command_line_has_a_secret(watched: WatchedRun) -> None:
    assert any(b"ray_driver" in line for line in watched.command_lines)
    forms = watched.forms()
    found = [(line, maker) for line in watched.command_lines for form, maker in forms.items() if form in line]
    assert found == []


def test_only_processes_of_the_user_have_a_secret_in_their_environment(watched: WatchedRun) -> None:
    """Ray takes its token from there; the kernel shows it to the same user alone."""
    assert watched.token_holders
    assert {user for user, _ in watched.token_holders} == {os.getuid()}
    assert [name for name in watched.token_holders.values() if RAY.search(name) is None] == []


# --- its files ------------------------------------------------------------------------------------------


def test_every_file_of_ours_is_for_the_user_alone(watched: WatchedRun) -> None:
    """With the umask 0. What was delivered has the modes of the source, as its user wants it."""
    ours = {
        path: mode
        for path, mode in watched.modes.items()
        if any(path.is_relative_to(home) for home in watched.homes.values())
        or path.name.startswith("castray-")
        or path.is_relative_to(watched.folder / "first" / "run")
        or path.is_relative_to(watched.folder / "second" / "run")
    }  # the temp folder of a run is one of these; what Ray writes is below it
    assert len(ours) > 30
    wrong = [
        (str(path), oct(stat.S_IMODE(mode)))
        for path, mode in ours.items()
        if not stat.S_ISLNK(mode) and stat.S_IMODE(mode) != (0o700 if stat.S_ISDIR(mode) else 0o600)
    ]
    assert wrong == []
