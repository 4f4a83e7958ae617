"""Addresses of the Hugging Face hub."""

from __future__ import annotations

import pytest

from castray_desktop.core.content.hub_addresses import HubAddress, is_hub_address, parse_hub_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("hf://org/name", HubAddress("model", "org/name")),
        ("HF://org/name/", HubAddress("model", "org/name")),
        ("hf://models/org/name", HubAddress("model", "org/name")),
        ("hf://datasets/org/name@v1.0", HubAddress("dataset", "org/name", "v1.0")),
        ("hf://spaces/org/name/app.py", HubAddress("space", "org/name", "", "app.py")),
        ("hf://org/na.me_1@main/a b/c#?.bin", HubAddress("model", "org/na.me_1", "main", "a b/c#?.bin")),
        ("hf://org/name/file@1.txt", HubAddress("model", "org/name", "", "file@1.txt")),
        ("hf://org/name@feature%2Fx/a", HubAddress("model", "org/name", "feature/x", "a")),
        ("hf://org/name@refs/pr/12", HubAddress("model", "org/name", "refs/pr/12")),
        (
            "hf://org/name@refs/convert/parquet/a/b",
            HubAddress("model", "org/name", "refs/convert/parquet", "a/b"),
        ),
    ],
)
def test_addresses(text: str, address: HubAddress) -> None:
    assert is_hub_address(text)
    assert parse_hub_address(text) == address


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("hf://", "owner and a name"),
        ("hf://gpt2", "owner and a name"),
        ("hf://datasets/squad", "owner and a name"),
        ("hf://org/name@", "no revision"),
        ("hf://org/na--me", "'na--me' is not a valid name"),
        ("hf://org/.name", "is not a valid name"),
        ("hf://org/name/a//b", "incomplete"),
        ("hf://org/name/../x", "incomplete"),
    ],
)
def test_what_is_wrong_with_others(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_hub_address(text)


def test_folder_of_the_cache() -> None:
    assert parse_hub_address("hf://datasets/org/name@v1/x").cache_folder == "datasets--org--name"
    assert parse_hub_address("hf://org/name").cache_folder == "models--org--name"
