"""scp: one process for each recipient, in parallel, to an sshd on each, with temporary keys."""

from __future__ import annotations

import getpass
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from benchmarks.laboratory.lab import Host, Lab
from benchmarks.peers.common import Workshop, missing

NAME = "scp"
CIPHER = "aes128-gcm@openssh.com"
RUNS_WITH = f"scp -c {CIPHER} without compression, one process each, to an sshd on each recipient"
PORT = 2222

CONFIG = """
Port {port}
ListenAddress {address}
HostKey {key}
AuthorizedKeysFile {authorized}
PidFile none
StrictModes no
UsePAM no
UseDNS no
PasswordAuthentication no
PermitRootLogin prohibit-password
Subsystem sftp internal-sftp
"""


def available() -> str:
    return missing(("scp", "openssh-client"), ("ssh-keygen", "openssh-client"), ("sshd", "openssh-server"))


def run(lab: Lab, source: Path, hosts: Sequence[Host], destinations: Sequence[Path]) -> float:
    first, *recipients = hosts
    sshd = shutil.which("sshd") or "sshd"  # sshd must be called by its full path
    Path("/run/sshd").mkdir(exist_ok=True)
    with Workshop(lab) as work:
        for name in ("host", "user"):
            key = work.folder / name
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
        for number, host in enumerate(recipients):
            config = work.folder / f"{number}.conf"
            config.write_text(
                CONFIG.format(
                    port=PORT,
                    address=host.address,
                    key=work.folder / "host",
                    authorized=work.folder / "user.pub",
                )
            )
            work.daemon(host, [sshd, "-D", "-e", "-f", config], PORT)
        known = work.folder / "known"
        line = (work.folder / "host.pub").read_text()
        known.write_text("".join(f"[{host.address}]:{PORT} {line}" for host in recipients))
        options = [f"UserKnownHostsFile={known}", "GlobalKnownHostsFile=none", "IdentitiesOnly=yes"]
        command = [
            *("scp", "-B", "-q", "-r", "-F", "none", "-c", CIPHER, "-P", str(PORT)),
            *("-i", work.folder / "user", *(word for option in options for word in ("-o", option))),
            source,
        ]
        user = getpass.getuser()
        return work.together(
            (first, [*command, f"{user}@{host.address}:{folder}/"])
            for host, folder in zip(recipients, destinations, strict=True)
        )
