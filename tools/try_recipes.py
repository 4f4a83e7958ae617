"""Run the recipes of docs/recipes.md on hosts in network namespaces.

    python -m tools.try_recipes slurm|ray-up|ray-job|bastion ...      all of them without a name

Each recipe is the file in `deploy/` that a user would take, on four hosts with their own network, host
name, process ids, home, /tmp and /srv. It works if the files on all of its nodes equal those that were sent.

It needs what `benchmarks.laboratory.lab` needs, and for single recipes slurm-wlm and munge, openssh-server,
rsync, and the extras `serve` and `client` of Ray in the interpreter that runs it, which must not be below
/tmp. Ray and CastRay come from this interpreter; nothing is installed.
"""

from __future__ import annotations

import argparse
import filecmp
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from benchmarks.laboratory.lab import ROOT, Host, Lab, inside

DEPLOY = ROOT / "deploy"
HOME = "/home/lab"
HEAD_PORT = 6379
CLIENT_PORT = 10001
FILE_BYTES = 60_000_000
COMMAND_SECONDS = 240.0
READY_SECONDS = 90.0
POLL_SECONDS = 1.0


class RecipeFailed(Exception):
    """A recipe did not do what its document says."""


class Machines:
    """Hosts of a laboratory that look like separate machines, apart from the processor and /usr."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.lab = lab
        self.folder = folder
        self.environment = os.environ | {
            "HOME": HOME,
            "PATH": f"{HOME}/ray-env/bin:{os.environ['PATH']}",
            "RAY_USAGE_STATS_ENABLED": "0",
            "CASTRAY_LOCAL_COPY": "0",
        }
        names = [f"{host.address} {host.name}\n" for host in lab.hosts]
        (folder / "hosts").write_text("127.0.0.1 localhost\n" + "".join(names))
        passwd = Path("/etc/passwd").read_text().replace(":/root:", f":{HOME}:", 1)
        (folder / "passwd").write_text(passwd)
        model = folder / "model"
        model.mkdir()
        (model / "weights.bin").write_bytes(os.urandom(FILE_BYTES))
        (model / "config.json").write_text("{}\n")
        self.model = model
        for host in lab.hosts:
            self._furnish(host)

    def _furnish(self, host: Host) -> None:
        """Create the folders of a host, and the commands that a real machine has installed."""
        for name in ("home", "tmp", "srv"):
            self.path(host, name).mkdir(parents=True)
        self.path(host, "tmp").chmod(0o1777)
        home = self.path(host, "home")
        commands = home / "ray-env" / "bin"
        commands.mkdir(parents=True)
        python = shlex.quote(sys.executable)
        for name, line in {
            "ray": f'exec {python} -m ray.scripts.scripts "$@"',
            "castray": f'PYTHONPATH={shlex.quote(str(ROOT))} exec {python} -P -m castray_desktop "$@"',
            "python": f'PYTHONPATH={shlex.quote(str(ROOT))} exec {python} "$@"',
            "pip": 'echo "pip $*"',
        }.items():
            (commands / name).write_text(f"#!/bin/sh\n{line}\n")
            (commands / name).chmod(0o755)
        (home / ".bashrc").write_text("")
        (home / ".profile").write_text(". ~/.bashrc\n")

    def path(self, host: Host, name: str) -> Path:
        """Where a folder of a host (`home`, `tmp`, `srv`) is on the real machine."""
        return self.folder / host.name / name

    def command(self, host: Host, argv: Sequence[str]) -> list[str]:
        """A command with the host's name, folders and process ids around it."""
        mounts = [(self.folder / "hosts", "/etc/hosts"), (self.folder / "passwd", "/etc/passwd")]
        mounts += [(self.path(host, "home"), HOME), (self.path(host, "srv"), "/srv")]
        mounts += [(self.path(host, "tmp"), "/tmp")]  # last: the others may lie below the real /tmp
        lines = [f"hostname {host.name}", f"mkdir -p {HOME} /run/sshd"]
        lines += [f"mount --bind {shlex.quote(str(source))} {target}" for source, target in mounts]
        script = " && ".join([*lines, f"cd {HOME}", 'exec "$@"'])
        spaces = ["unshare", "--uts", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        return [*spaces, "sh", "-c", script, "sh", *argv]

    def start(self, host: Host, argv: Sequence[str], **variables: str) -> subprocess.Popen[Any]:
        """Start a process that stays; its output goes to a file of the folder."""
        with (self.folder / f"{host.name}-{Path(argv[0]).name}.log").open("ab") as log:
            return self.lab.popen(
                host,
                self.command(host, argv),
                env=self.environment | variables,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def run(self, host: Host, *argv: str, check: bool = True, **variables: str) -> str:
        """Run a command and return its output. Raises RecipeFailed if its status is not 0."""
        done = subprocess.run(
            inside(host, self.command(host, argv)),
            env=self.environment | variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        if check and done.returncode:
            raise RecipeFailed(f"{shlex.join(argv)} ended with {done.returncode}:\n{done.stdout}")
        return done.stdout

    def wait_until(self, done: Callable[[], bool], what: str) -> None:
        """Raises RecipeFailed after READY_SECONDS."""
        end = time.monotonic() + READY_SECONDS
        while not done():
            if time.monotonic() > end:
                raise RecipeFailed(f"{what}: not within {READY_SECONDS:g} s")
            time.sleep(POLL_SECONDS)

    def start_sshd(self, hosts: Sequence[Host]) -> Path:
        """Let the hosts log in to each other with one key. Returns the key."""
        key, host_key, settings = (self.folder / name for name in ("key", "host-key", "sshd_config"))
        for file in (key, host_key):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", file], check=True)
        settings.write_text(
            f"Port 22\nHostKey {host_key}\nPermitRootLogin yes\nStrictModes no\nUsePAM no\nPidFile none\n"
        )
        for host in hosts:
            folder = self.path(host, "home") / ".ssh"
            folder.mkdir(mode=0o700)
            shutil.copy(key.with_suffix(".pub"), folder / "authorized_keys")
            shutil.copy(key, folder / "id_ed25519")
            self.start(host, ["/usr/sbin/sshd", "-D", "-e", "-f", str(settings)])
        return key

    def start_ray(self, head: Host, others: Sequence[Host], *options: str) -> None:
        """Start Ray on the hosts; it stays until the laboratory ends."""
        fixed = ["--num-cpus=1", "--object-store-memory=100000000", "--block"]
        address = f"{head.address}:{HEAD_PORT}"
        own = f"--node-ip-address={head.address}"
        self.start(head, ["ray", "start", "--head", own, f"--port={HEAD_PORT}", *options, *fixed])
        for host in others:
            self.wait_until(lambda: listens(self, head, HEAD_PORT), "Ray's head")
            own = f"--node-ip-address={host.address}"
            self.start(host, ["ray", "start", f"--address={address}", own, *fixed])

    def check_copies(self, hosts: Sequence[Host], folder: str) -> None:
        """Raises RecipeFailed unless each host has the model in a folder of its /srv."""
        for host in hosts:
            copy = self.path(host, "srv") / folder / "model"
            for file in self.model.iterdir():
                if not (copy / file.name).is_file() or not filecmp.cmp(file, copy / file.name, shallow=False):
                    raise RecipeFailed(f"{host.name} does not have {file.name}")


def listens(machines: Machines, host: Host, port: int) -> bool:
    """Whether something listens on a TCP port of the host."""
    return bool(machines.lab.run(host, ["ss", "-Hltn", f"sport = :{port}"], capture_output=True).stdout)


def slurm(machines: Machines) -> None:
    """`deploy/slurm/castray.sbatch`, as a job of three nodes under a real controller."""
    folder, hosts = machines.folder, machines.lab.hosts[:3]
    socket = folder / "munge.sock"
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    names = ",".join(host.name for host in hosts)
    (folder / "slurm.conf").write_text(
        f"ClusterName=lab\nSlurmctldHost={hosts[0].name}\nSlurmUser=root\nSlurmdUser=root\n"
        f"AuthType=auth/munge\nAuthInfo=socket={socket}\nCredType=cred/munge\n"
        f"StateSaveLocation={folder}/state\nSlurmdSpoolDir={folder}/spool-%n\n"
        f"SlurmctldPidFile={folder}/slurmctld.pid\nSlurmdPidFile={folder}/slurmd-%n.pid\n"
        "ProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\nSelectType=select/cons_tres\n"
        "MpiDefault=none\nReturnToService=2\nJobAcctGatherType=jobacct_gather/none\n"
        f"NodeName={names} CPUs={os.cpu_count()} RealMemory=4000\n"
        f"PartitionName=all Nodes={names} Default=YES State=UP\n"
    )
    (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\nCgroupAutomount=no\n")
    for name in ("state", *(f"spool-{host.name}" for host in hosts)):
        (folder / name).mkdir()
    variables = {"SLURM_CONF": str(folder / "slurm.conf")}
    files = {"socket": socket, "key-file": key, "pid-file": folder / "munged.pid"}
    files |= {"log-file": folder / "munged.log", "seed-file": folder / "munged.seed"}
    options = [f"--{name}={path}" for name, path in files.items()]
    machines.start(hosts[0], ["munged", "--foreground", "--force", *options])
    machines.wait_until(socket.exists, "munge")
    machines.start(hosts[0], ["slurmctld", "-D"], **variables)
    for host in hosts:
        machines.start(host, ["slurmd", "-D", "-N", host.name], **variables)
    machines.wait_until(
        lambda: (
            machines.run(hosts[0], "sinfo", "-h", "-o", "%t %D", check=False, **variables)
            == f"idle {len(hosts)}\n"
        ),
        "Slurm's nodes",
    )
    recipe = [str(DEPLOY / "slurm" / "castray.sbatch"), str(machines.model), "/srv/models"]
    output = folder / "job.out"
    submit = ["sbatch", "--wait", f"--nodes={len(hosts)}", f"--output={output}", *recipe, "--", "hostname"]
    machines.run(hosts[0], *submit, check=False, **variables)
    text = output.read_text(errors="replace")
    try:
        machines.check_copies(hosts, "models")
    except RecipeFailed as error:
        raise RecipeFailed(f"{error}:\n{text}") from None
    if any(f"\n{host.name}\n" not in text for host in hosts):
        raise RecipeFailed(f"the command did not run on all nodes:\n{text}")


def ray_up(machines: Machines) -> None:
    """`deploy/ray-up/cluster.yaml` with the hosts' addresses, from a desktop that can reach them by SSH."""
    head, first, second, desktop = machines.lab.hosts
    machines.start_sshd(machines.lab.hosts)
    settings = yaml.safe_load((DEPLOY / "ray-up" / "cluster.yaml").read_text())
    settings["provider"] |= {"head_ip": head.address, "worker_ips": [first.address, second.address]}
    settings["auth"]["ssh_user"] = "root"
    cluster = str(machines.folder / "cluster.yaml")
    Path(cluster).write_text(yaml.safe_dump(settings))
    machines.wait_until(lambda: listens(machines, head, 22), "sshd")
    machines.run(desktop, "ray", "up", "--yes", "--no-config-cache", cluster, RAY_UP_enable_autoscaler_v2="0")

    def all_online() -> bool:
        shown = machines.run(desktop, "ray", "exec", cluster, "castray nodes --json", check=False)

        return all(f'"{host.address}"' in shown for host in (head, first, second))

    machines.wait_until(all_online, "the workers of `ray up`")
    machines.run(desktop, "ray", "rsync-up", cluster, f"{machines.model}/", "/tmp/model/")
    machines.run(desktop, "ray", "exec", cluster, "castray send /tmp/model --to all --dest /srv/models")
    machines.check_copies([first, second], "models")


def ray_job(machines: Machines) -> None:
    """`deploy/ray-job/serve_model.py` by `ray job submit`, with Ray Serve on three nodes."""
    head, *others = machines.lab.hosts[:3]
    machines.start_ray(head, others, "--include-dashboard=true")
    machines.wait_until(lambda: listens(machines, head, 8265), "Ray's dashboard")
    environment = json.dumps({"env_vars": {"PYTHONPATH": str(ROOT), "HOME": HOME}})
    script = [sys.executable, "serve_model.py", str(machines.model), "/srv/models"]
    options = ["--address=http://127.0.0.1:8265", f"--working-dir={DEPLOY / 'ray-job'}"]
    output = machines.run(
        head, "ray", "job", "submit", *options, f"--runtime-env-json={environment}", "--", *script
    )
    machines.check_copies([head, *others], "models")
    digests = {line.split()[1] for line in output.splitlines() if line.startswith("10.77.0.")}
    if len(digests) != 1:
        raise RecipeFailed(f"the replicas answered {len(digests)} different things:\n{output}")


def bastion(machines: Machines) -> None:
    """A desktop that reaches only a bastion host sends through `ssh -L` and `ray://`."""
    bridge, head, worker, desktop = machines.lab.hosts
    machines.start_sshd(machines.lab.hosts)
    for host, stranger in ((head, desktop), (worker, desktop), (desktop, head), (desktop, worker)):
        machines.lab.run(
            host,
            ["nft", "add", "rule", "inet", "lab", "in", "ip", "saddr", stranger.address, "drop"],
            check=True,
        )
    machines.start_ray(head, [worker], f"--ray-client-server-port={CLIENT_PORT}")
    machines.wait_until(lambda: listens(machines, head, CLIENT_PORT), "Ray's client server")
    forward = f"{CLIENT_PORT}:{head.address}:{CLIENT_PORT}"
    trust = ["-o", "StrictHostKeyChecking=accept-new", "-o", "ExitOnForwardFailure=yes"]
    machines.start(desktop, ["ssh", *trust, "-N", "-L", forward, f"root@{bridge.address}"])
    machines.wait_until(lambda: listens(machines, desktop, CLIENT_PORT), "the forwarded port")
    address = f"ray://127.0.0.1:{CLIENT_PORT}"

    def all_online() -> bool:
        shown = machines.run(desktop, "castray", "nodes", "--cluster", address, "--json", check=False)
        return all(f'"{host.address}"' in shown for host in (head, worker))

    machines.wait_until(all_online, "the nodes behind the bastion")
    send = [
        "castray",
        "send",
        str(machines.model),
        "--cluster",
        address,
        "--to",
        "all",
        "--dest",
        "/srv/models",
    ]
    machines.run(desktop, *send)
    machines.check_copies([head, worker], "models")


RECIPES: dict[str, Callable[[Machines], None]] = {
    "slurm": slurm,
    "ray-up": ray_up,
    "ray-job": ray_job,
    "bastion": bastion,
}


def main() -> int:
    """Run the recipes that are named, and print a line for each."""
    parser = argparse.ArgumentParser(description="Run the recipes of docs/recipes.md.")
    parser.add_argument(
        "recipes", nargs="*", choices=[*RECIPES, []], metavar="RECIPE", help=", ".join(RECIPES)
    )
    failed = False
    for name in parser.parse_args().recipes or RECIPES:
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="recipe", dir="/var/tmp") as folder, Lab(4, "1gbit") as lab:
            try:
                RECIPES[name](Machines(lab, Path(folder)))
            except RecipeFailed as error:
                failed = True
                print(f"{name}: FAILED: {error}")
            else:
                print(f"{name}: works ({time.monotonic() - began:.0f} s)")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
