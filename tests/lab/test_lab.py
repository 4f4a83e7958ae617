"""Laboratories: the properties of their links, and complete removal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.laboratory.lab import Host, Lab, LabUnavailable, sweep
from benchmarks.laboratory.namespaces import ROOT_FOLDER, owner_prefix, processes_in

MakeLab = Callable[..., Lab]
pytestmark = pytest.mark.timeout(180)

ROOT = Path(__file__).resolve().parents[2]
TRIES = 5

SERVER = """
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
with socket.create_server((sys.argv[1], 7000), family=family) as server:
    print("listens", flush=True)
    while True:
        connection, _ = server.accept()
        with connection:
            total = 0
            while data := connection.recv(1 << 20):
                total += len(data)
            connection.sendall(str(total).encode())
"""
CLIENT = """
import socket, sys, time
with socket.create_connection((sys.argv[1], 7000), timeout=float(sys.argv[3])) as connection:
    connection.settimeout(30)
    began = time.monotonic()
    connection.sendall(bytes(int(sys.argv[2])))
    connection.shutdown(socket.SHUT_WR)
    assert int(connection.recv(100)) == int(sys.argv[2])
    print(time.monotonic() - began)
"""


def serve(lab: Lab, host: Host) -> None:
    """Receive data in the host, and return its amount."""
    server = lab.popen(host, [sys.executable, "-c", SERVER, host.address], stdout=subprocess.PIPE)
    assert server.stdout is not None
    assert server.stdout.readline() == b"listens\n"


def seconds_for(lab: Lab, source: Host, target: Host, size: int, patience: float = 10) -> float | None:
    """The time for this number of bytes, None if the target can't be reached."""
    ended = lab.run(
        source,
        [sys.executable, "-c", CLIENT, target.address, str(size), str(patience)],
        capture_output=True,
        text=True,
        timeout=40,
    )
    return float(ended.stdout) if not ended.returncode else None


def shortest_seconds(lab: Lab, source: Host, target: Host, size: int, within: float) -> float:
    """The time for this number of bytes. A busy machine may add to one time: then it is measured again."""
    found: list[float] = []
    while len(found) < TRIES and min(found, default=within) >= within:
        seconds = seconds_for(lab, source, target, size)
        assert seconds is not None
        found.append(seconds)
    return min(found)


def namespaces() -> set[str]:
    return {path.name for path in ROOT_FOLDER.glob(f"{owner_prefix()}*")}


def test_a_link_has_its_rate_and_takes_another(make_lab: MakeLab) -> None:
    lab = make_lab(2, "100mbit")
    source, target = lab.hosts
    serve(lab, target)
    seconds = shortest_seconds(lab, source, target, 12_500_000, within=3)  # one second at that rate
    assert 0.9 < seconds < 3
    lab.set_rate(target, "20mbit")
    slower = shortest_seconds(lab, source, target, 2_500_000, within=3)
    assert 0.7 < slower < 3
    lab.set_rate(target, None)
    lab.set_rate(source, None)
    assert shortest_seconds(lab, source, target, 12_500_000, within=0.7) < 0.7


@pytest.mark.parametrize("behind", [False, True])
def test_packets_get_lost_as_often_as_asked_for(make_lab: MakeLab, behind: bool) -> None:
    lab = make_lab(2, "100mbit", loss=0.0 if behind else 0.02, coalesce=False)
    source, target = lab.hosts
    serve(lab, target)
    if behind:
        lab.set_loss_behind(source, 0.5)
        lab.set_loss_behind(source, 0.02)
    assert seconds_for(lab, source, target, 5_000_000) is not None
    packets = received_packets(lab, target)
    assert packets > 5_000_000 / 1500  # none was merged with another
    counted = lab.run(source, ["nstat", "-asz", "TcpRetransSegs"], capture_output=True, text=True)
    assert 0.005 < int(counted.stdout.split()[-2]) / packets < 0.1


def received_packets(lab: Lab, host: Host) -> int:
    lines = lab.run(host, ["cat", "/proc/net/dev"], capture_output=True, text=True).stdout.splitlines()
    (line,) = [line for line in lines if line.strip().startswith("eth0:")]
    return int(line.split()[2])


@pytest.mark.parametrize("ipv6", [False, True])
def test_a_long_path_takes_its_time(make_lab: MakeLab, ipv6: bool) -> None:
    lab = make_lab(2, "100mbit", delay=0.05, ipv6=ipv6)
    source, target = lab.hosts
    serve(lab, target)
    assert 0.1 <= shortest_seconds(lab, source, target, 1, within=0.3) < 0.3  # round trip
    much = shortest_seconds(lab, source, target, 12_500_000, within=5)
    assert much < 5  # not delayed by the switch


def test_a_firewall_lets_connections_through_one_way_only(make_lab: MakeLab) -> None:
    lab = make_lab(2, None, ipv6=True)
    here, there = lab.hosts
    serve(lab, here)
    serve(lab, there)
    lab.block(there, "in")
    assert seconds_for(lab, here, there, 1, patience=0.5) is None
    assert seconds_for(lab, there, here, 1) is not None
    lab.unblock(there)
    assert seconds_for(lab, here, there, 1) is not None
    lab.block(there, "out", port=7000)
    assert seconds_for(lab, there, here, 1, patience=0.5) is None
    assert seconds_for(lab, here, there, 1) is not None
    lab.unblock(there)
    lab.set_link(there, False)
    assert seconds_for(lab, there, here, 1, patience=0.5) is None
    lab.set_link(there, True)
    assert seconds_for(lab, there, here, 1) is not None


def test_payload_is_counted_without_headers_and_without_lost_packets(make_lab: MakeLab) -> None:
    lab = make_lab(2, loss=0.05, coalesce=False)
    here, there = lab.hosts
    serve(lab, there)
    lab.count_payload(there, "7000")
    lab.count_payload(here, "7000")
    assert seconds_for(lab, here, there, 4_000_000) is not None
    received = max(lab.payload(here), lab.payload(there))
    assert received >= 4_000_000
    assert received * 1.07 < lab.traffic(there)[1] + lab.traffic(here)[1]  # 5 % were lost, 4 % are headers


def test_laboratories_side_by_side_know_nothing_of_each_other(make_lab: MakeLab) -> None:
    first, second = make_lab(2), make_lab(2)
    serve(first, first.hosts[1])
    assert seconds_for(second, *second.hosts, size=1, patience=0.5) is None
    assert seconds_for(first, *first.hosts, size=1) is not None
    assert first.traffic(first.hosts[1])[1] > second.traffic(second.hosts[1])[1]


def test_nothing_stays(make_lab: MakeLab) -> None:
    lab = make_lab(3, delay=0.01)
    server = lab.popen(
        lab.hosts[1], [sys.executable, "-c", SERVER, lab.hosts[1].address], stdout=subprocess.PIPE
    )
    assert server.stdout is not None
    server.stdout.readline()
    made = namespaces()
    assert len(made) == 4
    assert server.pid in lab.processes(lab.hosts[1])
    lab.close()
    assert server.returncode == -signal.SIGKILL
    assert not made & namespaces()
    lab.close()


def test_nothing_stays_after_a_mistake(make_lab: MakeLab) -> None:
    before = namespaces()
    with pytest.raises(LabUnavailable, match="rate"):
        make_lab(2, "fast")
    assert namespaces() == before


def test_a_command_runs_in_the_first_host(make_lab: MakeLab) -> None:
    make_lab(1)
    show = "echo $HOSTS; cat /proc/net/dev | grep -c eth0; exit 7"
    command = ["-m", "benchmarks.laboratory.lab", "--hosts", "2", "--rate", "none", "--", "sh", "-c", show]
    ended = subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, timeout=50, check=False
    )
    assert (ended.stdout, ended.returncode) == ("10.77.0.1 10.77.0.2\n1\n", 7)


OWNER = """
import signal, subprocess
from benchmarks.laboratory.lab import Lab
with Lab(2) as lab:
    child = lab.popen(lab.hosts[0], ["sh", "-c", "echo there; exec sleep 1000"], stdout=subprocess.PIPE)
    child.stdout.readline()
    print(lab.hosts[0].namespace, child.pid, flush=True)
    signal.pause()
"""


def start_owner() -> tuple[subprocess.Popen[str], str, int]:
    owner = subprocess.Popen([sys.executable, "-c", OWNER], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    namespace, child = owner.stdout.readline().split()
    return owner, namespace, int(child)


def test_sigterm_takes_it_down(make_lab: MakeLab) -> None:
    make_lab(1)  # reports why no laboratory can be created
    owner, namespace, child = start_owner()
    with owner:
        owner.terminate()
        assert owner.wait(20) == 128 + signal.SIGTERM
    assert not (ROOT_FOLDER / namespace).exists()
    assert not Path(f"/proc/{child}").exists()


def test_what_a_killed_owner_left_is_swept(make_lab: MakeLab) -> None:
    make_lab(1)
    owner, namespace, child = start_owner()
    with owner:
        owner.kill()
        owner.wait(20)
    assert processes_in([namespace]) == [child]
    sweep()
    assert not (ROOT_FOLDER / namespace).exists()
    assert not alive(child)


def alive(process: int) -> bool:
    """Whether it runs; the machine's init process may take a moment to reap it."""
    limit = time.monotonic() + 5
    while time.monotonic() < limit:
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return False
        if Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            return False
    return True
