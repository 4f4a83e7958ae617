"""Addresses of files on web servers."""

from __future__ import annotations

import pytest

from castray_desktop.core.content.urls import is_store_url, is_url, redacted_url, url_file_name


@pytest.mark.parametrize(
    "text", ["https://host/a", "http://host:80/a", "HTTPS://host", "https://u:p@[::1]/a?b#c"]
)
def test_addresses(text: str) -> None:
    assert is_url(text)


@pytest.mark.parametrize("text", ["s3://bucket", "S3://bucket/a", "gs://b/c", "az://c/d", "hf://org/model"])
def test_addresses_of_stores(text: str) -> None:
    assert is_url(text)
    assert is_store_url(text)


def test_an_address_of_a_web_server_is_none_of_a_store() -> None:
    assert not is_store_url("https://host/s3://bucket")


@pytest.mark.parametrize(
    "text", ["", "s3:///a", "/data/https://x", "https:/host", "https:///a", "ftp://host/a", "file:///a"]
)
def test_everything_else_is_a_path(text: str) -> None:
    assert not is_url(text)


def test_what_may_be_secret_is_not_shown() -> None:
    shown = redacted_url("https://ada:pass@host:8443/a/b%20c.bin?X-Amz-Signature=1#part")
    assert shown == "https://host:8443/a/b%20c.bin"
    assert redacted_url("az://box/a#1.bin?sig=secret") == "az://box/a#1.bin"
    assert redacted_url("S3://key:secret@bucket/a?b#c%20.bin") == "s3://bucket/a?b#c%20.bin"
    assert redacted_url("hf://org/model@main/a.bin?token=secret") == "hf://org/model@main/a.bin"
    assert redacted_url("s3://bucket") == "s3://bucket"


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://host/models/weights.bin?token=1", b"weights.bin"),
        ("https://host/a%20b/", b"a b"),
        ("https://host/%E6%A8%A1%E5%9E%8B.bin", "模型.bin".encode()),
        ("https://host/%FF.bin", b"\xff.bin"),
        ("https://host/", b"host"),
        ("https://host/a/..", b"host"),
        ("https://host/a%2Fb", b"host"),
        ("https://host/a%00b", b"host"),
        ("https://host/" + "x" * 300, b"host"),
        ("s3://bucket/a/model%20v1.bin", b"model%20v1.bin"),
        ("s3://bucket/a/b#1?.bin", b"b#1?.bin"),
        ("s3://bucket/data/", b"data"),
        ("s3://bucket", b"bucket"),
        ("gs://bucket/..", b"bucket"),
        ("hf://org/model@main", b"model"),
        ("hf://datasets/org/data@refs/pr/1", b"data"),
        ("hf://org/model@v1/onnx/model@2.bin", b"model@2.bin"),
        ("hf://model@v1", b"model@v1"),
    ],
)
def test_names_of_files_are_safe(url: str, name: bytes) -> None:
    assert url_file_name(url) == name
