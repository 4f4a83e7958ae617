"""moto's S3 server as a process of its own, on a port that the system chooses."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

START_SECONDS = 60.0
_ADDRESS = re.compile(rb"Running on (http://127\.0\.0\.1:\d+)")

_SOMEONE = "AWS4-HMAC-SHA256 Credential=someone/20260101/us-east-1/s3/aws4_request, Signature=0"
"""An owner of buckets; signatures are not checked."""


class S3Server:
    """A running server. Its objects are private unless they are put as public."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.url = ""
        self._process = process
        self._ready = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if not self._ready.wait(START_SECONDS) or not self.url:
            raise RuntimeError("moto_server did not start")

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if match := _ADDRESS.search(line):
                self.url = match[1].decode()
                self._ready.set()
        self._ready.set()

    def environment(self, folder: Path) -> dict[str, str]:
        """What a process needs to use it, and to find nothing else."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "an-access-key",
            "AWS_SECRET_ACCESS_KEY": "a-secret-key",
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": str(folder / "no-config"),
            "AWS_SHARED_CREDENTIALS_FILE": str(folder / "no-credentials"),
        }

    def put(self, path: str, payload: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        """Create a bucket, or an object in it: `bucket/key`."""
        self._send("PUT", urllib.parse.quote(path), payload, headers or {})

    def reset(self) -> None:
        """Forget everything."""
        self._send("POST", "moto-api/reset", b"", {})

    def check_keys(self, after: float) -> None:
        """Refuse unknown access keys after so many requests."""
        self._send("POST", "moto-api/reset-auth", str(after).encode(), {})

    def _send(self, method: str, path: str, payload: bytes, headers: Mapping[str, str]) -> None:
        request = urllib.request.Request(
            f"{self.url}/{path}",
            data=payload,
            method=method,
            headers={"Content-Type": "application/octet-stream", "Authorization": _SOMEONE, **headers},
        )
        with urllib.request.urlopen(request, timeout=START_SECONDS):
            pass

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()
        self._reader.join()
        assert self._process.stderr is not None
        self._process.stderr.close()


@contextlib.contextmanager
def s3_server() -> Iterator[S3Server]:
    """A running server."""
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        server = S3Server(process)
    except BaseException:
        process.kill()
        process.wait()
        raise
    try:
        yield server
    finally:
        server.close()
