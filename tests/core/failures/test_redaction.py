from __future__ import annotations

import pytest

from castray_desktop.core.failures.redaction import without_secrets


@pytest.mark.parametrize(
    "text",
    [
        "token=abcdef",
        'Authorization: "abcdef"',
        "Authorization: Bearer abcdef",
        "{'authorization': 'Basic abcdef'}",
        "sent bearer abcdef",
        "RAY_AUTH_TOKEN: abcdef",
        "API token: abcdef",
        "password_file=1,abcdef",
        "GET https://host/a.bin?X-Amz-Expires=1&X-Amz-Signature=abcdef failed",
        "'http://host/a?sig=abcdef'",
    ],
)
def test_secrets_are_left_out(text: str) -> None:
    assert "abcdef" not in without_secrets(text)


def test_a_long_hexadecimal_word_is_shortened_and_plain_words_stay() -> None:
    assert without_secrets("key " + "ab" * 16) == "key ababab…"
    assert without_secrets("cast c0ffee000001 to node_1") == "cast c0ffee000001 to node_1"
