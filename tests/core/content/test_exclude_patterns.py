"""The files that the patterns exclude."""

from __future__ import annotations

import pytest

from castray_desktop.core.content.exclude_patterns import ExcludePatterns


@pytest.mark.parametrize(
    ("pattern", "path", "folder", "excluded"),
    [
        ("*.log", "top/deep/a.log", False, True),
        ("*.log", "top/a.txt", False, False),
        ("cache/", "top/cache", True, True),
        ("cache/", "top/cache", False, False),
        ("deep/*.log", "top/deep/a.log", False, True),
        ("top/deep/*.log", "top/deep/a.log", False, True),
        ("/deep", "top/deep", True, True),
        ("/deep", "top/more/deep", True, False),
        ("**/deep/x", "top/deep/x", False, True),
        ("日志*", "top/日志一", False, True),
        ("[ab].bin", "a.bin", False, True),
    ],
)
def test_exclusions(pattern: str, path: str, folder: bool, excluded: bool) -> None:
    assert ExcludePatterns([pattern]).excludes(path, folder) is excluded


def test_no_patterns_exclude_nothing() -> None:
    assert not ExcludePatterns(["", "/"])
    assert not ExcludePatterns([]).excludes("a", False)
