"""Open buckets and containers with what this computer has: environment variables, files of the usual tools,
or nothing, for what is public.

Environment variables are those of this process, files are read each time. A metadata service is asked
for credentials on a machine of that cloud only.
"""

from __future__ import annotations

import configparser
import functools
import importlib
import importlib.util
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from castray_desktop.core.content.urls import redacted_url, url_scheme
from castray_desktop.core.failures.kinds import CastRayError, FailureKind

if TYPE_CHECKING:
    from obstore.store import AzureStore, GCSStore, S3Store

    SignCapableStore = AzureStore | GCSStore | S3Store

REGION_SECONDS = 5.0
VENDOR_FILE = Path("/sys/class/dmi/id/sys_vendor")
"""The vendor of this machine, or the cloud that it belongs to."""

AZURE_HOST = ".blob.core.windows.net"
_CLIENT: dict[str, Any] = {"timeout": timedelta(seconds=30), "connect_timeout": timedelta(seconds=10)}
_RETRIES: dict[str, Any] = {"max_retries": 3, "retry_timeout": timedelta(seconds=30)}

_AWS_FROM_ELSEWHERE = (
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)
_PROFILE_WITH_LIBRARY = ("role_arn", "sso_session", "sso_start_url", "credential_process", "login_session")
_GOOGLE = (
    "GOOGLE_SERVICE_ACCOUNT",
    "GOOGLE_SERVICE_ACCOUNT_PATH",
    "GOOGLE_SERVICE_ACCOUNT_KEY",
    "GOOGLE_APPLICATION_CREDENTIALS",
)
_AZURE_KEYS = (
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_ACCESS_KEY",
    "AZURE_STORAGE_MASTER_KEY",
    "AZURE_STORAGE_KEY",
)
_AZURE_IDENTITY = (
    "AZURE_CLIENT_ID",
    "AZURE_FEDERATED_TOKEN_FILE",
    "AZURE_USE_AZURE_CLI",
    "IDENTITY_ENDPOINT",
)


@dataclass(frozen=True)
class ObjectPlace:
    """An address, taken apart. The bucket of `az` can have the host of an account before it."""

    scheme: str
    bucket: str
    key: str  # empty: the whole bucket

    @classmethod
    def of(cls, address: str) -> ObjectPlace:
        scheme, rest = url_scheme(address), address.partition("://")[2]
        bucket, _, key = rest.partition("/")
        if scheme == "az" and "." in bucket:  # a container has no dot
            container, _, key = key.partition("/")
            bucket = f"{bucket}/{container}"
        return cls(scheme, bucket, key)

    def address(self, key: str) -> str:
        """The address of a key of this bucket."""
        return f"{self.scheme}://{self.bucket}/{key}"


@dataclass(frozen=True)
class AwsKeys:
    """Credentials of an account at AWS, or at a server with its protocol."""

    access_key: str
    secret_key: str = field(repr=False)
    session_token: str = field(default="", repr=False)


@dataclass(frozen=True)
class S3Bucket:
    """What requests to S3 need that obstore can't make."""

    url: str  # what a quoted key is appended to
    region: str
    keys: Callable[[], AwsKeys] | None  # may block, and raises any error; None: it is public


@dataclass(frozen=True)
class StoreAccess:
    """An opened bucket."""

    store: SignCapableStore
    public_url: str = ""  # without credentials: what a quoted key is appended to
    how: str = ""  # how credentials are given, for a sentence
    s3: S3Bucket | None = None  # if it is one of S3, whose keys are known here

    @property
    def is_public(self) -> bool:
        """Whether it was opened without credentials."""
        return bool(self.public_url)


def open_bucket(place: ObjectPlace) -> StoreAccess:
    """Open a bucket. Blocking: reads files, and may ask for its region. Raises CastRayError."""
    from obstore.exceptions import BaseError

    try:
        return _OPEN[place.scheme](place)
    except (BaseError, ValueError):  # whose text may have parts of them
        reason = "they are incomplete or invalid"
        url = redacted_url(place.address(""))
        raise CastRayError(FailureKind.STORE_UNSIGNED, url=url, reason=reason) from None


# --- S3 ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class AwsProfile:
    """What the files of the AWS tools say about the chosen profile."""

    name: str
    values: dict[str, str]

    @classmethod
    def read(cls) -> AwsProfile:
        """The profile of `AWS_PROFILE`, or the default one. Unreadable files count as empty."""
        name = os.environ.get("AWS_PROFILE") or os.environ.get("AWS_DEFAULT_PROFILE") or "default"
        values: dict[str, str] = {}
        for variable, file, sections in (
            ("AWS_CONFIG_FILE", "~/.aws/config", (f"profile {name}", name)),
            ("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials", (name,)),
        ):
            parser = configparser.RawConfigParser()
            try:
                parser.read(Path(os.environ.get(variable) or file).expanduser(), encoding="utf-8")
            except (OSError, configparser.Error, UnicodeDecodeError, RuntimeError):
                continue
            for section in sections:
                if parser.has_section(section):
                    values.update(parser.items(section))
                    break
        return cls(name, values)

    @property
    def keys(self) -> dict[str, str]:
        """Access key, secret and session token, if it has them."""
        names = {"access_key_id": "aws_access_key_id", "secret_access_key": "aws_secret_access_key"}
        if not all(self.values.get(name) for name in names.values()):
            return {}
        found = {key: self.values[name] for key, name in names.items()}
        if token := self.values.get("aws_session_token"):
            found["session_token"] = token
        return found

    @property
    def needs_library(self) -> bool:
        """Whether its keys come from a login, a role or a program, which boto3 knows how to ask."""
        return any(self.values.get(name) for name in _PROFILE_WITH_LIBRARY)


def _open_s3(place: ObjectPlace) -> StoreAccess:
    from obstore.store import S3Store

    profile, config = AwsProfile.read(), {}
    provider: Any = None
    public = _is_set("AWS_SKIP_SIGNATURE")
    if not public and not os.environ.get("AWS_ACCESS_KEY_ID"):
        if profile.keys:
            config.update(profile.keys)
        elif profile.needs_library:
            provider = _provider_of(profile, place)
        else:
            public = not (any(map(os.environ.get, _AWS_FROM_ELSEWHERE)) or _on_amazon())
    endpoint = next(
        filter(None, map(os.environ.get, ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"))),
        profile.values.get("endpoint_url", ""),
    ).rstrip("/")
    region = (
        os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or profile.values.get("region")
    )
    if not endpoint:
        region = bucket_region(place.bucket) or region
    region = region or "us-east-1"
    store = S3Store(
        place.bucket,
        region=region,
        client_options=_client_options(endpoint),
        retry_config=_RETRIES,  # type: ignore[arg-type]
        credential_provider=provider,
        **({"endpoint": endpoint} if endpoint else {}),  # type: ignore[arg-type]
        **({"skip_signature": True} if public else {}),  # type: ignore[arg-type]
        **config,  # type: ignore[arg-type]
    )
    url = f"{endpoint or f'https://s3.{region}.amazonaws.com'}/{place.bucket}/"
    how = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile in ~/.aws/credentials"
    keys = None if public else _known_keys(profile, provider)
    bucket = S3Bucket(url, region, keys) if public or keys is not None else None
    return StoreAccess(store, url if public else "", how, bucket)


def _known_keys(profile: AwsProfile, provider: Any) -> Callable[[], AwsKeys] | None:
    """What gives the keys that obstore signs with; None if obstore alone can get those of a role."""
    if key := os.environ.get("AWS_ACCESS_KEY_ID"):
        token = os.environ.get("AWS_SESSION_TOKEN") or os.environ.get("AWS_TOKEN", "")
        keys = AwsKeys(key, os.environ.get("AWS_SECRET_ACCESS_KEY", ""), token)
    elif profile.keys:
        found = profile.keys
        keys = AwsKeys(found["access_key_id"], found["secret_access_key"], found.get("session_token", ""))
    elif provider is not None or importlib.util.find_spec("boto3") is not None:
        return functools.partial(_provided_keys, provider)
    else:
        return None
    return lambda: keys


def _provided_keys(provider: Any) -> AwsKeys:
    """What it gives; without one what boto3 finds, such as the keys of a role. Blocking, raises any error."""
    if provider is None:
        from obstore.auth.boto3 import Boto3CredentialProvider

        provider = Boto3CredentialProvider()
    found = provider()
    return AwsKeys(found["access_key_id"], found["secret_access_key"], found["token"] or "")


def _provider_of(profile: AwsProfile, place: ObjectPlace) -> Any:
    if importlib.util.find_spec("boto3") is None:
        reason = f"the profile {profile.name} requires the package boto3"
        raise CastRayError(FailureKind.STORE_UNSIGNED, url=redacted_url(place.address("")), reason=reason)
    from obstore.auth.boto3 import Boto3CredentialProvider

    session: Any = importlib.import_module("boto3").Session(profile_name=profile.name)
    return Boto3CredentialProvider(session)


@functools.lru_cache(maxsize=256)
def bucket_region(bucket: str) -> str:
    """The region of a bucket of AWS, which it tells everyone; empty if it does not answer. Blocking."""
    request = urllib.request.Request(f"https://s3.amazonaws.com/{bucket}", method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=REGION_SECONDS) as response:
            headers = response.headers
    except urllib.error.HTTPError as error:
        headers = error.headers
        error.close()
    except (OSError, ValueError):
        return ""
    return str(headers.get("x-amz-bucket-region", ""))


def _on_amazon() -> bool:
    return _vendor().startswith("Amazon") and not _is_set("AWS_EC2_METADATA_DISABLED")


# --- Google Cloud Storage ----------------------------------------------------------------------------


def _open_gs(place: ObjectPlace) -> StoreAccess:
    from obstore.store import GCSStore

    folder = Path(os.environ.get("CLOUDSDK_CONFIG") or Path("~/.config/gcloud").expanduser())
    has_file = (folder / "application_default_credentials.json").is_file()
    known = any(map(os.environ.get, _GOOGLE)) or has_file or _vendor().startswith("Google")
    public = _is_set("GOOGLE_SKIP_SIGNATURE") or not known
    store = GCSStore(
        place.bucket,
        client_options=_client_options(""),
        retry_config=_RETRIES,  # type: ignore[arg-type]
        **({"skip_signature": True} if public else {}),  # type: ignore[arg-type]
    )
    how = "GOOGLE_APPLICATION_CREDENTIALS, with the file of a service account's key"
    return StoreAccess(store, f"https://storage.googleapis.com/{place.bucket}/" if public else "", how)


# --- Azure Blob Storage ------------------------------------------------------------------------------


def _open_az(place: ObjectPlace) -> StoreAccess:
    from obstore.store import AzureStore

    given = _connection_string()
    host, _, container = place.bucket.rpartition("/")
    named = os.environ.get("AZURE_STORAGE_ACCOUNT_NAME") or os.environ.get("AZURE_STORAGE_ACCOUNT")
    own = named or given.get("AccountName", "")
    account = host.partition(".")[0] or own
    emulator = _is_set("AZURE_STORAGE_USE_EMULATOR")
    if not account and not emulator:
        reason = (
            "no account is named: set AZURE_STORAGE_ACCOUNT_NAME, or write"
            f" az://ACCOUNT{AZURE_HOST}/CONTAINER/PATH"
        )
        raise CastRayError(FailureKind.STORE_UNSIGNED, url=redacted_url(place.address("")), reason=reason)
    config: dict[str, Any] = {"account_name": account} if account else {}
    endpoint = given.get("BlobEndpoint", "") if account == own else ""
    if endpoint:
        config["endpoint"] = endpoint
    key = next(filter(None, map(os.environ.get, _AZURE_KEYS)), given.get("AccountKey", ""))
    known = emulator or any(map(os.environ.get, _AZURE_IDENTITY)) or _vendor().startswith("Microsoft")
    if key and account == (own or account):  # it is that of its own account
        config["account_key"] = key
    public = _is_set("AZURE_SKIP_SIGNATURE") or not (known or "account_key" in config)
    if public:
        config["skip_signature"] = True
    store = AzureStore(
        container,
        client_options=_client_options(endpoint or ("http://" if emulator else "")),
        retry_config=_RETRIES,  # type: ignore[arg-type]
        **config,
    )
    base = endpoint.rstrip("/") or f"https://{account}{AZURE_HOST}"
    how = "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY"
    return StoreAccess(store, f"{base}/{container}/" if public else "", how)


def _connection_string() -> dict[str, str]:
    """The parts of `AZURE_STORAGE_CONNECTION_STRING`."""
    text = os.environ.get("AZURE_STORAGE_CONNECTION_STRING", "")
    parts = (part.partition("=") for part in text.split(";") if part)
    return {name.strip(): value.strip() for name, _, value in parts}


# --- all of them -------------------------------------------------------------------------------------

_OPEN: dict[str, Callable[[ObjectPlace], StoreAccess]] = {"s3": _open_s3, "gs": _open_gs, "az": _open_az}


def _client_options(endpoint: str) -> Any:
    return {**_CLIENT, "allow_http": True} if endpoint.startswith("http://") else _CLIENT


def _is_set(variable: str) -> bool:
    return os.environ.get(variable, "").lower() in ("1", "true", "yes", "on")


def _vendor() -> str:
    try:
        return VENDOR_FILE.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
