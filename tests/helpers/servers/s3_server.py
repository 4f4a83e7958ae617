"""moto's S3 server as a process of its own, on a port that the system chooses."""

from __future__ import annotations

import contextlib
import hashlib
import re
import subprocess
import sys
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
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

    def put_in_parts(
        self, path: str, parts: Sequence[bytes], headers: Mapping[str, str] | None = None
    ) -> None:
        """Create an object by an upload in parts. Each but the last has 5 MiB at least."""
        place = urllib.parse.quote(path)
        answer = self._send("POST", f"{place}?uploads", b"", headers or {})
        upload = answer.partition(b"<UploadId>")[2].partition(b"<")[0].decode()
        listed = ""
        for number, payload in enumerate(parts, 1):
            self._send("PUT", f"{place}?partNumber={number}&uploadId={upload}", payload, {})
            etag = hashlib.md5(payload, usedforsecurity=False).hexdigest()
            listed += f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"
        body = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode()
        self._send("POST", f"{place}?uploadId={upload}", body, {})

    def reset(self) -> None:
        """Forget everything."""
        self._send("POST", "moto-api/reset", b"", {})

    def check_keys(self, after: float) -> None:
        """Refuse unknown access keys after so many requests."""
        self._send("POST", "moto-api/reset-auth", str(after).encode(), {})

    def _send(self, method: str, path: str, payload: bytes, headers: Mapping[str, str]) -> bytes:
        request = urllib.request.Request(
            f"{self.url}/{path}",
            data=payload,
            method=method,
            headers={"Content-Type": "application/octet-stream", "Authorization": _SOMEONE, **headers},
        )
        with urllib.request.urlopen(request, timeout=START_SECONDS) as response:
            answer: bytes = response.read()
        return answer

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
