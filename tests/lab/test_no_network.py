"""The program on a computer without a network: it needs none, and asks for none.

It runs in a network namespace. Beside the loopback interface that has a route to everywhere, through an
interface that leads nowhere, and nftables notes each packet that leaves there: those of Ray as well, and
questions for names.
"""

from __future__ import annotations

import filecmp
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import castray_desktop
from benchmarks.laboratory.namespaces import ip_batch, nft, owner_prefix, remove
from tests.cluster.conftest import Castray, make_home
from tests.helpers.trees import facts, make_file, make_tree

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 150.0

WATCH = """
table inet watch {
  set asked { type ipv4_addr . inet_proto . inet_service; flags dynamic; size 1000; }
  set asked_by_ipv6 { type ipv6_addr . inet_proto . inet_service; flags dynamic; size 1000; }
  chain leaving {
    type filter hook output priority 0;
    oifname "out" meta nfproto ipv4 meta l4proto { tcp, udp } \\
      add @asked { ip daddr . meta l4proto . th dport }
    oifname "out" meta nfproto ipv6 meta l4proto { tcp, udp } \\
      add @asked_by_ipv6 { ip6 daddr . meta l4proto . th dport }
  }
}
"""
RAY_ASKS = ("169.254.169.254", "tcp", 80)
"""Where clouds answer their own machines. A module of Ray's dashboard asks there, and for the name of that of
one cloud, in which cloud it runs, as soon as a head starts: also with its usage statistics and the dashboard
off, and no setting prevents it. Nothing is sent but the question."""

RESOLVER = "192.0.2.53"  # an address for documents, behind the interface that leads nowhere
_WITH_NAMES = 'mount --bind "$1" /etc/resolv.conf && mount --bind "$2" /etc/hosts && shift 2 && exec "$@"'


class Nowhere:
    """A network namespace in which a program runs, and where that wanted to send to."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self._resolver, self._hosts = folder / "resolv.conf", folder / "hosts"
        self._resolver.write_text(f"nameserver {RESOLVER}\noptions timeout:1 attempts:1\n")
        known = Path(
            "/etc/hosts"
        ).read_text()  # the name that Ray asks for is here, so that no other goes unseen
        self._hosts.write_text(f"{known}\n{RAY_ASKS[0]} metadata.google.internal\n")

    def run(self, castray: Castray, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run Python there until it ends."""
        inside = ["unshare", "--mount", "sh", "-c", _WITH_NAMES, "sh"]
        inside += [str(self._resolver), str(self._hosts)]
        return subprocess.run(
            ["ip", "netns", "exec", self.name, *inside, sys.executable, *words],
            cwd=ROOT,
            env=castray.environment | variables,
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
        )

    def asked(self) -> list[list[str | int]]:
        """Address, protocol and port of what left."""
        found: list[list[str | int]] = []
        for name in ("asked", "asked_by_ipv6"):
            command = [
                "ip",
                "netns",
                "exec",
                self.name,
                "nft",
                "--json",
                "list",
                "set",
                "inet",
                "watch",
                name,
            ]
            listed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout
            sets = [item["set"] for item in json.loads(listed)["nftables"] if "set" in item]
            found += [element["concat"] for item in sets for element in item.get("elem", ())]
        return found


@pytest.fixture
def nowhere(why_not: str, tmp_path: Path) -> Iterator[Nowhere]:
    """A namespace with a route that leads nowhere."""
    if why_not:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(why_not)
    name = f"{owner_prefix()}nowhere"
    ip_batch([f"netns add {name}"])
    try:
        # The kernel itself asks for IPv6 neighbours and groups; these packets are neither TCP nor UDP.
        ends = ["link add out type veth peer name nobody", "link set out up", "link set nobody up"]
        ip_batch(["link set lo up", *ends], name)
        ip_batch(["address add 10.99.0.2/24 dev out", "address add fd99::2/64 dev out nodad"], name)
        ip_batch(["route add default dev out", "route add ::/0 dev out"], name)
        nft(name, WATCH)
        yield Nowhere(name, tmp_path)
    finally:
        remove([name])


@pytest.fixture
def castray(tmp_path: Path) -> Iterator[Castray]:
    """A home without an engine. No process may remain afterwards."""
    castray = make_home(tmp_path)
    yield castray
    assert castray.wait_until_gone() == []


def test_the_watch_sees_connections_and_names(nowhere: Nowhere, castray: Castray) -> None:
    ask = """
import contextlib, socket
for family, address in ((socket.AF_INET, "203.0.113.7"), (socket.AF_INET6, "2001:db8::7")):
    with contextlib.suppress(OSError), socket.socket(family) as asking:
        asking.setblocking(False)
        asking.connect((address, 4433))
with contextlib.suppress(OSError):
    socket.getaddrinfo("updates.example.org", 443)
"""
    done = nowhere.run(castray, "-c", ask)
    assert done.returncode == 0, done.stderr
    asked = nowhere.asked()
    assert ["203.0.113.7", "tcp", 4433] in asked
    assert ["2001:db8::7", "tcp", 4433] in asked
    assert [RESOLVER, "udp", 53] in asked


def assert_only_ray_asked(nowhere: Nowhere) -> None:
    """Ray's question in which cloud it runs is the only thing that has left."""
    assert {tuple(item) for item in nowhere.asked()} <= {RAY_ASKS}


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(400)
def test_nothing_is_asked_for_outside_of_the_computer(
    nowhere: Nowhere, castray: Castray, tmp_path: Path
) -> None:
    """The version, the engine with its cluster, and the window, with a drop that arrives on three nodes."""
    version = nowhere.run(castray, "-m", "castray_desktop", "--version")
    assert version.stdout == f"castray {castray_desktop.__version__}\n"
    assert nowhere.asked() == []
    nodes = nowhere.run(castray, "-m", "castray_desktop", "nodes", "--json")
    assert nodes.returncode == 0, nodes.stderr
    assert {node["state"] for node in json.loads(nodes.stdout)} == {"online"}
    assert_only_ray_asked(nowhere)
    file, folder = make_file(tmp_path / "模型.bin", 30 << 20), make_tree(tmp_path / "configs", 40)
    trace, into = tmp_path / "trace.jsonl", tmp_path / "in"
    flight = nowhere.run(
        castray,
        "-m",
        "tests.helpers.desktop.window_pilot",
        str(file),
        str(folder),
        "--dest",
        str(into / "{node}"),
        QT_QPA_PLATFORM="offscreen",
        CASTRAY_STARTUP_TRACE=str(trace),
    )
    assert flight.returncode == 0, flight.stderr
    assert_only_ray_asked(nowhere)
    seen = json.loads(flight.stdout.splitlines()[-1])
    assert seen["state"] == "completed", flight.stderr
    assert seen["source_copies"] == pytest.approx(1.0, abs=0.02)
    for node in ("node_1", "node_2", "node_3"):
        assert set(seen["paths"][node]) == {str(into / node / name) for name in ("模型.bin", "configs")}
        assert filecmp.cmp(file, into / node / "模型.bin", shallow=False)
        assert facts(into / node / "configs") == facts(folder)
    events = [json.loads(line)["event"] for line in trace.read_text().splitlines()]
    assert events[0] == "first_paint"
    assert events[-1] == "stopped"


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(240)
def test_it_works_without_any_interface(nowhere: Nowhere, castray: Castray, tmp_path: Path) -> None:
    ip_batch(["link delete out"], nowhere.name)
    castray.demo_nodes(2)
    file = make_file(tmp_path / "sent.bin", 1 << 20)
    into = ("--to", "node_1,node_2", "--dest", str(tmp_path / "in" / "{node}"))
    sent = nowhere.run(castray, "-m", "castray_desktop", "send", str(file), "--cluster", "local", *into)
    assert sent.returncode == 0, sent.stderr
    assert (tmp_path / "in" / "node_2" / "sent.bin").read_bytes() == file.read_bytes()
