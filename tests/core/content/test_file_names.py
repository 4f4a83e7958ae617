"""Names from other machines are valid, free names are free, and patterns exclude what they match."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from castray_desktop.core.content.file_names import (
    MAX_COMPONENT,
    ExcludePatterns,
    NamePatterns,
    display_name,
    folders_above,
    free_name,
    node_file_name,
    numbered_name,
    safe_component,
    split_suffix,
)


@pytest.mark.parametrize("name", [b"", b".", b"..", b"a/b", b"/", b"a\0b", b"x" * 256])
def test_an_unsafe_name_is_refused(name: bytes) -> None:
    with pytest.raises(ValueError, match="name"):
        safe_component(name)


@pytest.mark.parametrize("name", [b"a", b"...", b"-", b"\xff", b"x" * 255, "名".encode()])
def test_every_other_name_is_valid(name: bytes) -> None:
    assert safe_component(name) == name


@pytest.mark.parametrize(
    ("name", "folder", "second"),
    [
        (b"model.bin", False, b"model (2).bin"),
        (b"folder", True, b"folder (2)"),
        (b"folder.d", True, b"folder.d (2)"),
        (b"archive.tar.gz", False, b"archive (2).tar.gz"),
        (b".bashrc", False, b".bashrc (2)"),
        (b"README", False, b"README (2)"),
        (b"x.this is a sentence with a dot", False, b"x.this is a sentence with a dot (2)"),
        ("模型.bin".encode(), False, "模型 (2).bin".encode()),
    ],
)
def test_the_second_name(name: bytes, folder: bool, second: bytes) -> None:
    assert numbered_name(name, 2, folder) == second


def test_a_free_name_counts_up() -> None:
    taken = {b"a.bin", b"a (2).bin", b"a (3).bin"}
    assert free_name(b"a.bin", taken.__contains__) == b"a (4).bin"
    assert free_name(b"b.bin", taken.__contains__) == b"b.bin"


@given(
    st.text(min_size=1, max_size=300).map(lambda text: text.encode("utf-8", "ignore")[:255]),
    st.integers(2, 99999),
)
def test_numbered_names_stay_valid(name: bytes, number: int) -> None:
    result = numbered_name(name.replace(b"/", b"_").replace(b"\0", b"_"), number)
    assert len(result) <= MAX_COMPONENT
    assert b"/" not in result


def test_a_long_name_is_cut_between_characters() -> None:
    result = numbered_name(("名" * 83).encode() + b".bin", 2)
    assert len(result) <= MAX_COMPONENT
    assert result.decode().endswith("名 (2).bin")


def test_suffixes() -> None:
    assert split_suffix(b"a.tar.zst") == (b"a", b".tar.zst")
    assert split_suffix(b".tar.gz") == (b".tar", b".gz")


@given(st.binary(min_size=1, max_size=20))
def test_whatever_a_name_is_it_can_be_shown(raw: bytes) -> None:
    assert display_name(raw).encode("utf-8")
    assert display_name(os.fsdecode(raw)) == display_name(raw)


def test_a_nodes_name_as_part_of_a_file_name() -> None:
    assert node_file_name("node_1") == "node_1"
    assert node_file_name("../x y") == ".._x_y"
    assert node_file_name("") == "_"


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
    assert ExcludePatterns(NamePatterns((pattern,))).excludes(path, folder) is excluded


def test_no_patterns_exclude_nothing() -> None:
    assert not ExcludePatterns(NamePatterns(("", "/"), ("",)))
    assert not ExcludePatterns(NamePatterns()).excludes("a", False)


@pytest.mark.parametrize(
    ("pattern", "path", "sent"),
    [
        ("*.bin", "top/deep/a.bin", True),
        ("*.bin", "top/a.txt", False),
        ("*.bin", "a.bin", True),
        ("deep/", "top/deep/more/a.txt", True),
        ("deep", "top/deep/more/a.txt", True),
        ("deep/", "top/deep", False),  # a file
        ("top/deep/*.bin", "top/deep/a.bin", True),
        ("/a.bin", "top/a.bin", True),
        ("/a.bin", "top/deep/a.bin", False),
    ],
)
def test_inclusions(pattern: str, path: str, sent: bool) -> None:
    names = ExcludePatterns(NamePatterns((), (pattern,)))
    assert names.excludes(path, False) is not sent
    assert names.leaves_out(path) is not sent
    assert not names.excludes("top/anything", True)  # there may be something in it
    assert ExcludePatterns(NamePatterns((pattern,), (pattern,))).leaves_out(path)


def test_what_is_left_out_is_not_brought_back() -> None:
    names = ExcludePatterns(NamePatterns(("old/", "*.tmp"), ("*.bin", "*.tmp")))
    assert not names.leaves_out("top/a.bin")
    assert names.leaves_out("top/old/a.bin")
    assert names.leaves_out("top/a.tmp")


def test_folders_above_an_entry() -> None:
    assert list(folders_above("a/b/c")) == ["a", "a/b"]
    assert list(folders_above("a")) == []
