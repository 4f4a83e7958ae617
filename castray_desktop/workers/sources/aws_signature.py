"""Sign requests to S3 (AWS Signature Version 4, in a header): obstore signs links, but no further headers."""

from __future__ import annotations

import hashlib
import hmac
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

_NO_BODY = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True)
class AwsKeys:
    """Credentials of an account at AWS, or at a server with its protocol."""

    access_key: str
    secret_key: str = field(repr=False)
    session_token: str = field(default="", repr=False)


def signed_headers(
    method: str, url: str, headers: Mapping[str, str], keys: AwsKeys, region: str, now: datetime
) -> dict[str, str]:
    """The headers of a request without a body: `headers`, whose names are in lower case, and what signs them.

    `now` is UTC.
    """
    parts = urllib.parse.urlsplit(url)
    date = now.strftime("%Y%m%dT%H%M%SZ")
    signed = {"host": parts.netloc, "x-amz-content-sha256": _NO_BODY, "x-amz-date": date, **headers}
    if keys.session_token:
        signed["x-amz-security-token"] = keys.session_token
    names = ";".join(sorted(signed))
    query = sorted(urllib.parse.parse_qsl(parts.query, keep_blank_values=True))
    request = (
        method,
        parts.path or "/",
        urllib.parse.urlencode(query, quote_via=urllib.parse.quote),
        *(f"{name}:{signed[name].strip()}" for name in sorted(signed)),
        "",
        names,
        _NO_BODY,
    )
    scope = f"{date[:8]}/{region}/s3/aws4_request"
    digest = hashlib.sha256("\n".join(request).encode()).hexdigest()
    key = f"AWS4{keys.secret_key}".encode()
    for text in scope.split("/"):
        key = _hmac(key, text)
    signature = _hmac(key, f"AWS4-HMAC-SHA256\n{date}\n{scope}\n{digest}").hex()
    credential = f"AWS4-HMAC-SHA256 Credential={keys.access_key}/{scope}"
    signed["authorization"] = f"{credential},SignedHeaders={names},Signature={signature}"
    return signed


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")
