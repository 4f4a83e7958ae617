"""A laboratory: hosts in network namespaces, connected by links with a rate, a loss and a delay.

    python -m benchmarks.laboratory.lab --hosts 4 --rate 1gbit             waits, and prints how to enter each
    python -m benchmarks.laboratory.lab --hosts 4 --rate 1gbit -- COMMAND  runs it in the first host
    python -m benchmarks.laboratory.lab --hosts 4 --ray -- COMMAND         the same with a Ray node in each

COMMAND gets the hosts' addresses in HOSTS and their namespaces in NAMESPACES, starting with the first host.
When it ends, the laboratory is removed. Needs root and Linux with iproute2, nftables and, for `Lab.iperf`,
iperf3.

The hosts share one kernel, one file system and one machine's processors; only their networks are separate.
Each link is a pair of devices between a host and one bridge. The bridge is in its own namespace, so a
laboratory is invisible outside. A token bucket on both ends of each link limits its rate. nftables drops
incoming packets for loss; it drops whole packets of up to 64 KiB unless `coalesce` is off. A switch in user
space instead of the bridge adds delay (`benchmarks.laboratory.long_path`); the rate then applies only to
outgoing traffic.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

from benchmarks.laboratory.namespaces import (
    ROOT_FOLDER,
    LabUnavailable,
    check_machine,
    command_output,
    ip_batch,
    nft,
    owner_prefix,
    processes_in,
    remove,
    sweep,
    sysctl,
)

__all__ = ["Host", "Lab", "LabUnavailable", "LoopbackHosts", "inside", "main", "ray_environment", "sweep"]

ROOT = Path(__file__).resolve().parents[2]
SETUP_SECONDS = 60.0
END_SECONDS = 5.0
RAY_START_SECONDS = 90.0
RAY_STARTS = 4
"""How often a joining node is started: on a busy machine, Ray gives up waiting for its head after 30 s."""

IPERF_PORT = 5201
LONG_PATH_QUEUE = 20_000
"""Packets that may wait in a host's device for the switch in user space: enough to lose none."""

_numbers = itertools.count()


@dataclass(frozen=True)
class Host:
    """One host. Inside, its interface is `eth0`."""

    name: str
    namespace: str  # empty: this machine itself
    address: str


@dataclass(frozen=True)
class LoopbackHosts:
    """Addresses of this machine's loopback interface in place of a laboratory: no links, no root."""

    hosts: tuple[Host, ...]

    @classmethod
    def of(cls, names: Sequence[str]) -> LoopbackHosts:
        """One for each name. Agents take those with different addresses for different machines."""
        return cls(tuple(Host(name, "", f"127.0.0.{number}") for number, name in enumerate(names, 1)))


class Lab:
    """A context manager: the hosts exist inside its block and are removed after it, also on SIGTERM.

    `rate` applies to every link in each direction, as `tc` writes it, None means no limit; `rates` are those
    of single hosts, by number. `loss` is a share of the incoming packets of every host (0.01 is 1 %).
    `coalesce=False` keeps every packet at the link's size. `delay` applies to one direction, in seconds. With
    `ipv6` the hosts have IPv6 addresses. Raises LabUnavailable.
    """

    def __init__(
        self,
        hosts: int,
        rate: str | None = "1gbit",
        *,
        rates: Mapping[int, str] | None = None,
        loss: float = 0.0,
        coalesce: bool = True,
        delay: float = 0.0,
        ipv6: bool = False,
    ) -> None:
        if not 1 <= hosts <= 250:
            raise ValueError(f"{hosts} hosts: 1 to 250 can be had")
        self._stem = f"{owner_prefix()}{next(_numbers)}"
        self._switch = f"{self._stem}-switch"
        self.hosts = tuple(
            Host(f"h{n}", f"{self._stem}-h{n}", f"fd77::{n + 1:x}" if ipv6 else f"10.77.0.{n + 1}")
            for n in range(hosts)
        )
        self._rates = [(rates or {}).get(number, rate) for number in range(hosts)]
        self._loss = loss
        self._coalesce = coalesce
        self._delay = delay
        self._ipv6 = ipv6
        self._processes: list[subprocess.Popen[Any]] = []
        self._folders: list[str] = []
        self._head_folder = ""
        self._ray_folders: dict[Host, str] = {}
        self._long_path: subprocess.Popen[Any] | None = None
        self._terminate: Any = None

    # --- up and down ----------------------------------------------------------------------------

    def __enter__(self) -> Self:
        check_machine()
        sweep()
        if threading.current_thread() is threading.main_thread() and (
            signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        ):
            self._terminate = signal.signal(signal.SIGTERM, _leave)
        try:
            self._build()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Kill all processes in the hosts, and remove the hosts. May be called more than once."""
        for process in self._processes:  # a process that was just started may not be in its namespace yet
            process.kill()
        remove([self._switch, *(host.namespace for host in self.hosts)])
        for process in self._processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(END_SECONDS)
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
        self._processes.clear()
        for folder in self._folders:
            shutil.rmtree(folder, ignore_errors=True)
        self._folders.clear()
        if self._terminate is not None:
            signal.signal(signal.SIGTERM, self._terminate)
            self._terminate = None

    def _build(self) -> None:
        names = [host.namespace for host in self.hosts]
        ip_batch([f"netns add {name}" for name in [self._switch, *names]])
        for name in names:
            sysctl(
                name,
                {
                    "net.ipv4.tcp_no_metrics_save": "1",  # results of one run must not influence the next
                    "net.ipv6.conf.all.accept_dad": "0",
                    "net.ipv6.conf.default.accept_dad": "0",
                },
            )
        if self._delay:
            self._join_by_long_path()
        else:
            self._join_by_bridge()
        for number, host in enumerate(self.hosts):
            ip_batch(
                [
                    "link set lo up",
                    f"address add 10.77.0.{number + 1}/24 dev eth0",
                    *([f"address add {host.address}/64 dev eth0 nodad"] if self._ipv6 else []),
                    "link set eth0 up",
                    "route add 224.0.0.0/4 dev eth0",
                ],
                host.namespace,
            )
            self._shape(number, "add")
            nft(host.namespace, _TABLE)
            if self._loss:
                self.set_loss(host, self._loss)

    def _join_by_bridge(self) -> None:
        segments = "" if self._coalesce else " gso_max_segs 1"
        # Multicast is flooded to all ports, as on a switch without IGMP snooping.
        ip_batch(
            ["link add br0 type bridge mcast_snooping 0 forward_delay 0", "link set br0 up"], self._switch
        )
        with contextlib.suppress(LabUnavailable):  # exists only if br_netfilter is loaded
            sysctl(self._switch, {"net.bridge.bridge-nf-call-iptables": "0"})
        lines: list[str] = []
        for number, host in enumerate(self.hosts):
            ours = f"v{number}"
            lines += [
                f"link add {ours}{segments} type veth peer name eth0 netns {host.namespace}{segments}",
                f"link set {ours} master br0 up",
            ]
        ip_batch(lines, self._switch)

    def _join_by_long_path(self) -> None:
        command = [sys.executable, "-m", "benchmarks.laboratory.long_path", "--delay", str(self._delay)]
        for number, host in enumerate(self.hosts):
            command += [
                "--host",
                str(ROOT_FOLDER / host.namespace),
                f"10.77.0.{number + 1}",
                f"fd77::{number + 1:x}",
            ]
        self._long_path = subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._processes.append(self._long_path)
        assert self._long_path.stdout is not None
        if not self._long_path.stdout.readline():  # it prints one line when the devices exist
            _, why = self._long_path.communicate(timeout=END_SECONDS)
            raise LabUnavailable(f"the long path has ended: {why.strip()}")
        for host in self.hosts:
            ip_batch([f"link set eth0 mtu 1500 txqueuelen {LONG_PATH_QUEUE}"], host.namespace)

    @property
    def switch(self) -> str:
        """The namespace of the bridge at which all links end. A long path has none."""
        return self._switch

    # --- processes ------------------------------------------------------------------------------

    def popen(self, host: Host, argv: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """Start a process in the host; `options` are Popen's. It ends with the laboratory at the latest."""
        process = subprocess.Popen(inside(host, argv), **options)
        self._processes.append(process)
        return process

    def run(self, host: Host, argv: Sequence[str], **options: Any) -> subprocess.CompletedProcess[Any]:
        """Run a command in the host until it ends; `options` are those of `subprocess.run`."""
        return subprocess.run(inside(host, argv), check=options.pop("check", False), **options)

    def processes(self, host: Host) -> tuple[int, ...]:
        """The ids of all processes in the host."""
        return tuple(processes_in([host.namespace]))

    # --- links ----------------------------------------------------------------------------------

    def set_rate(self, host: Host, rate: str | None) -> None:
        """Change the rate of a host's link in both directions; None means no limit."""
        number = self.hosts.index(host)
        before, self._rates[number] = self._rates[number], rate
        self._shape(number, "change" if before and rate else "add", remove=bool(before and not rate))

    def set_loss(self, host: Host, loss: float) -> None:
        """Change the share of incoming packets that a host loses."""
        rule = f"numgen random mod 100000 < {round(loss * 100_000)} drop" if loss else ""
        nft(host.namespace, f"flush chain inet lab loss\n{_rule('loss', rule)}")

    def set_loss_behind(self, host: Host, loss: float) -> None:
        """Change the share of packets that are lost after they have left a host. A long path has none."""
        device, table = f"v{self.hosts.index(host)}", f"lab_{host.name}"
        chain = f"type filter hook ingress device {device} priority 0;"
        rule = f"numgen random mod 100000 < {round(loss * 100_000)} drop;"
        new = f"table netdev {table} {{\nchain loss {{\n{chain}\n{rule}\n}}\n}}\n" if loss else ""
        nft(self._switch, f"table netdev {table}\ndelete table netdev {table}\n{new}")

    def block(self, host: Host, direction: str = "in", port: int | None = None) -> None:
        """Drop new TCP connections into ("in") or out of ("out") the host, as a firewall does.

        Drops all of them, or those to one port. Open connections stay open. Several rules may be active;
        `unblock` removes them all.
        """
        if direction not in ("in", "out"):
            raise ValueError(f"direction {direction!r} is neither in nor out")
        to_port = f"tcp dport {port} " if port else ""
        nft(host.namespace, _rule(direction, f"{to_port}tcp flags & (syn | ack) == syn drop"))

    def unblock(self, host: Host) -> None:
        """Remove the rules of `block`."""
        nft(host.namespace, "flush chain inet lab in\nflush chain inet lab out\n")

    def set_link(self, host: Host, up: bool) -> None:
        """Unplug the host's cable, or plug it in again. No process is notified; packets are lost."""
        nft(host.namespace, "flush chain inet lab cable\n" + ("" if up else _rule("cable", "drop")))

    def traffic(self, host: Host) -> tuple[int, int]:
        """Bytes that left and that reached the host on its link, headers included."""
        shown = command_output(["ip", "-n", host.namespace, "-json", "-stats", "link", "show", "eth0"])
        stats = json.loads(shown)[0]["stats64"]
        return int(stats["tx"]["bytes"]), int(stats["rx"]["bytes"])

    def count_payload(self, host: Host, ports: str) -> None:
        """Count what the host accepts from now on over TCP connections with one of these ports at an end.

        `ports` is a port or a range such as "7000-7019".
        """
        rules = (_rule("counted", f"tcp {end} {ports} counter") for end in ("sport", "dport"))
        nft(host.namespace, "".join(rules))

    def payload(self, host: Host) -> int:
        """Bytes since `count_payload`, without headers and without packets that were lost.

        Bytes that the sender repeated without need count again.
        """
        listed = ["nft", "-j", "list", "chain", "inet", "lab", "counted"]
        shown = json.loads(command_output(inside(host, listed)))
        counters = [
            part["counter"]
            for item in shown["nftables"]
            for part in item.get("rule", {}).get("expr", ())
            if "counter" in part
        ]
        return sum(counter["bytes"] - counter["packets"] * _HEADER_BYTES for counter in counters)

    def iperf_server(self, host: Host) -> subprocess.Popen[Any]:
        """An iperf3 server for one client at `IPERF_PORT`; it may not listen yet."""
        return self.popen(
            host,
            ["iperf3", "--server", "--one-off", "--port", str(IPERF_PORT)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def iperf(self, source: Host, target: Host, seconds: float = 2) -> float:
        """Bytes per second of one TCP stream, as iperf3 measures it. Raises LabUnavailable."""
        if shutil.which("iperf3") is None:
            raise LabUnavailable("iperf3 is missing: install it")
        limit = seconds + 15
        server = self.iperf_server(target)
        try:
            self.wait_for_port(target, IPERF_PORT)
            shown = self.run(
                source,
                [
                    "iperf3",
                    "--client",
                    target.address,
                    "--port",
                    str(IPERF_PORT),
                    "--json",
                    "--time",
                    f"{seconds:g}",
                ],
                capture_output=True,
                text=True,
                timeout=limit,
            )
        finally:
            server.kill()
            server.wait()
        report = json.loads(shown.stdout)
        if "error" in report:
            raise LabUnavailable(f"iperf3: {report['error']}")
        return float(report["end"]["sum_received"]["bits_per_second"]) / 8

    def wait_for_port(self, host: Host, port: int) -> None:
        """Wait until a process in the host listens on a TCP port. Raises LabUnavailable."""
        _until(lambda: self._listens(host, port), 5.0, f"the server on port {port}")

    def _listens(self, host: Host, port: int) -> bool:
        return bool(
            command_output(["ip", "netns", "exec", host.namespace, "ss", "-Hltn", f"sport = :{port}"]).strip()
        )

    def _shape(self, number: int, verb: str, remove: bool = False) -> None:
        host, rate = self.hosts[number], self._rates[number]
        ends = [(host.namespace, "eth0")] + ([] if self._delay else [(self._switch, f"v{number}")])
        for namespace, device in ends:
            if remove:
                command_output(["tc", "-n", namespace, "qdisc", "delete", "dev", device, "root"])
            elif rate:
                shape = f"qdisc {verb} dev {device} root tbf rate {rate} burst 256kb latency 20ms"
                command_output(["tc", "-n", namespace, *shape.split()])

    # --- Ray ------------------------------------------------------------------------------------

    def start_ray(
        self,
        host: Host,
        head: Host | None = None,
        python: str | Path = sys.executable,
        *,
        environment: Mapping[str, str] | None = None,
        shared_memory: str = "",
        complete: bool = False,
    ) -> str:
        """Start a Ray node in the host: the head, or one that joins `head`. Returns the head's address.

        `python` is the interpreter with Ray, `environment` has extra variables for its processes,
        `shared_memory` is the size of a separate /dev/shm ("16m"). Unless it is to be `complete`, the node
        does without the processes of Ray that casts never use; Ray before 2.44 always has them. Only the
        laboratory ends the node. If a joining node does not start, all processes in the host are ended, and
        it is started again, `RAY_STARTS` times in all. Raises LabUnavailable.
        """
        start = functools.partial(
            self._start_ray, host, head, python, environment or {}, shared_memory, complete
        )
        for _ in range(RAY_STARTS - 1 if head is not None else 0):
            with contextlib.suppress(LabUnavailable):
                return start()
            self.end_ray(host)
        return start()

    def _start_ray(
        self,
        host: Host,
        head: Host | None,
        python: str | Path,
        environment: Mapping[str, str],
        shared_memory: str,
        complete: bool,
    ) -> str:
        folder = tempfile.mkdtemp(prefix="clr", dir="/tmp")  # Ray's sockets need a short path
        self._folders.append(folder)
        self._ray_folders[host] = folder
        address = f"{(head or host).address}:6379"
        role = [f"--address={address}"] if head else ["--head", "--port=6379", f"--temp-dir={folder}"]
        command = [
            *(
                str(python),
                "-m",
                "ray.scripts.scripts",
                "start",
                *role,
                f"--node-ip-address={host.address}",
            ),
            *("--num-cpus=1", "--object-store-memory=200000000", "--disable-usage-stats"),
            *([] if head else ["--include-dashboard=false"]),
            *([] if complete else ["--include-log-monitor=false", *([] if head else ["--no-monitor"])]),
        ]
        variables = ray_environment() | dict(environment)
        if not complete:
            variables["RAY_prestart_worker_first_driver"] = (
                "0"  # agents can't use workers without our modules
            )
        if str(python) != sys.executable:
            variables.pop("PYTHONPATH", None)  # it has its own packages, and none of ours
        variables |= {"RAY_TMPDIR": folder, "TMPDIR": folder} if head else {}
        if head is None:
            self._head_folder = folder
        elif str(python) != sys.executable:
            # Older Ray versions put a node's files where the head's are; there they would collide.
            command = _after(f"mount --bind {folder} {self._head_folder}", command)
        if shared_memory:
            command = _after(f"mount -t tmpfs -o size={shared_memory} tmpfs /dev/shm", command)
        try:
            started = self.run(
                host,
                command,
                env=variables,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=RAY_START_SECONDS,
            )
        except subprocess.TimeoutExpired as error:
            raise LabUnavailable(
                f"Ray did not start in {host.name} within {RAY_START_SECONDS:g} s"
            ) from error
        if started.returncode:
            raise LabUnavailable(f"Ray did not start in {host.name}: {started.stdout}{started.stderr}")
        return address

    def ray_folder(self, host: Host) -> Path:
        """The folder of the files of the host's Ray node. Raises KeyError if it never had one."""
        return Path(self._ray_folders[host])

    def end_ray(self, host: Host) -> None:
        """Kill all processes in the host, and remove the files of its Ray node."""
        for process in self.processes(host):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        if (folder := self._ray_folders.get(host)) is not None:
            shutil.rmtree(folder, ignore_errors=True)
            with contextlib.suppress(ValueError):
                self._folders.remove(folder)


def ray_environment() -> dict[str, str]:
    """The environment of Ray's processes in a laboratory, and of the drivers that join them."""
    return os.environ | {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}


def _after(first: str, argv: Sequence[str]) -> list[str]:
    """A command that runs `first` in a shell, and then replaces itself by `argv`."""
    return ["sh", "-c", f'{first} && exec "$@"', "sh", *argv]


def inside(host: Host, argv: Sequence[str]) -> list[str]:
    """A command that runs `argv` in the host; the process keeps its id."""
    if not host.namespace:
        return list(argv)
    return ["ip", "netns", "exec", host.namespace, *argv]


# --- parts of a laboratory --------------------------------------------------------------------------

_HEADER_BYTES = 52
"""Of IPv4, and of TCP with timestamps."""

_TABLE = """
table inet lab {
  chain loss { }
  chain in { }
  chain out { }
  chain cable { }
  chain counted { }
  chain input { type filter hook input priority 0; iifname "eth0" jump cable; iifname "eth0" jump in
                iifname "eth0" jump loss; iifname "eth0" jump counted; }
  chain output { type filter hook output priority 0; oifname "eth0" jump cable; oifname "eth0" jump out; }
}
"""


def _rule(chain: str, rule: str) -> str:
    return f"add rule inet lab {chain} {rule}\n" if rule else ""


def _until(done: Callable[[], bool], seconds: float, what: str) -> None:
    limit = time.monotonic() + seconds
    while not done():
        if time.monotonic() > limit:
            raise LabUnavailable(f"{what} was not there within {seconds:g} s")
        time.sleep(0.01)


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


# --- the command -----------------------------------------------------------------------------------


def main() -> int:
    """Create a laboratory, run the command in its first host or wait, and remove the laboratory."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.laboratory.lab",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--hosts", type=int, default=4)
    parser.add_argument("--rate", default="1gbit", help="of each link, as tc writes it; none: no limit")
    parser.add_argument("--loss", type=float, default=0.0, help="share of packets, 0.01 is 1 %%")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds, one way")
    parser.add_argument(
        "--no-coalesce", dest="coalesce", action="store_false", help="no packet above a link's size"
    )
    parser.add_argument("--ipv6", action="store_true")
    parser.add_argument("--ray", action="store_true", help="with a Ray node in each host")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND")
    options = parser.parse_args()
    command = options.command[options.command[:1] == ["--"] :]
    lab = Lab(
        options.hosts,
        None if options.rate == "none" else options.rate,
        loss=options.loss,
        coalesce=options.coalesce,
        delay=options.delay,
        ipv6=options.ipv6,
    )
    try:
        with lab:
            return _stay(lab, options.ray, command)
    except LabUnavailable as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _stay(lab: Lab, ray: bool, command: Sequence[str]) -> int:
    head, *others = lab.hosts
    if ray:
        print(f"Ray's head is {lab.start_ray(head)}", flush=True)
        for host in others:
            lab.start_ray(host, head)
    if command:
        environment = ray_environment() | {
            "HOSTS": " ".join(host.address for host in lab.hosts),
            "NAMESPACES": " ".join(host.namespace for host in lab.hosts),
        }
        return lab.popen(head, command, env=environment).wait()
    for host in lab.hosts:
        print(f"{host.name}  {host.address}  ip netns exec {host.namespace} bash")
    print("Ctrl+C takes it all down", flush=True)
    signal.pause()
    return 0


if __name__ == "__main__":
    sys.exit(main())
