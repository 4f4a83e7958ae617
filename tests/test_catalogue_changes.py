"""`python -m tools.catalogue --changes`: which sentences have changed since a revision."""

from __future__ import annotations

import subprocess
from pathlib import Path
from xml.sax.saxutils import escape

import pytest

from tools import catalogue

BEFORE = {
    "Failure": {
        "{path} may not be read by {user}.": "{user} 没有读取 {path} 的权限。",
        "Nothing of it can be changed any more.": "无法再更改。",
        "The same.": "相同。",
        "Translated badly.": "译得不好。",
    },
    "Window": {"Close": "关闭", "Columns | rows": "列 | 行", "Moves": "移动"},
}
NOW = {
    "Failure": {
        "{path} may not be read by the user {user}.": "{user} 没有读取 {path} 的权限。",
        "The same.": "相同。",
        "Translated badly.": "译文不佳。",
        "Moves": "移动",
    },
    "Window": {"Close": "关闭", "Columns | rows:": "列 | 行：", "Two\nlines": "两\n行"},
}
TABLE = r"""zh_CN: 6 changes since v1

| Change | Context | English before | English now | Translation before | Translation now |
| --- | --- | --- | --- | --- | --- |
| changed | Failure | {path} may not be read by {user}. | {path} may not be read by the user {user}. | {user} 没有读取 {path} 的权限。 |  |
| changed | Window | Columns \| rows | Columns \| rows: | 列 \| 行 | 列 \| 行： |
| moved | Window → Failure | Moves |  | 移动 |  |
| translation | Failure | Translated badly. |  | 译得不好。 | 译文不佳。 |
| new | Window |  | Two↵lines |  | 两↵行 |
| gone | Failure | Nothing of it can be changed any more. |  | 无法再更改。 |  |
"""  # noqa: E501


def write(folder: Path, contexts: dict[str, dict[str, str]]) -> None:
    lines = ['<?xml version="1.0" encoding="utf-8"?>', '<TS version="2.1" language="zh_CN">']
    for name, texts in contexts.items():
        lines += ["<context>", f"<name>{name}</name>"]
        for text, translation in texts.items():
            translated = f"<translation>{escape(translation)}</translation>"
            lines.append(f"<message><source>{escape(text)}</source>{translated}</message>")
        lines.append("</context>")
    (folder / "castray_zh_CN.ts").write_text("\n".join([*lines, "</TS>"]), "utf-8")


def git(folder: Path, *words: str) -> None:
    who = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", "-C", str(folder), *who, *words], check=True, capture_output=True, timeout=30)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with the first catalogue at the tag v1, and with the second one beside it."""
    folder = tmp_path / "resources" / "i18n"
    folder.mkdir(parents=True)
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "commit", "--quiet", "--allow-empty", "-m", "begin")
    git(tmp_path, "tag", "v0")
    write(folder, BEFORE)
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "first")
    git(tmp_path, "tag", "v1")
    write(folder, NOW)
    monkeypatch.setattr(catalogue, "FOLDER", folder)
    return folder


def test_changes_are_a_table(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        assert catalogue.main("--changes", "v1") == 0
        assert capsys.readouterr().out == TABLE
    write(repository, {name: dict(reversed(texts.items())) for name, texts in reversed(NOW.items())})
    assert catalogue.main("--changes", "v1") == 0
    assert capsys.readouterr().out == TABLE


def test_before_there_was_a_catalogue_every_sentence_is_new(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert catalogue.main("--changes", "v0") == 0
    assert capsys.readouterr().out.count("| new |") == sum(map(len, NOW.values()))


def test_nothing_has_changed(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(repository, BEFORE)
    assert catalogue.main("--changes", "v1") == 0
    assert capsys.readouterr().out.startswith("zh_CN: 0 changes since v1\n")


def test_an_unknown_revision_is_refused(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert catalogue.main("--changes", "v9") == 2
    assert capsys.readouterr().err == "v9 is not a revision of this repository\n"
