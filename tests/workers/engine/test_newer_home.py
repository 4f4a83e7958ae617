"""A home, or a file on a node, that a later version has written: it is refused, and left as it is.

`docs/state-files.md` says for each file where its version is; these tests follow its tables.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from castray_desktop.core.casts.cast_statistics import CastTotals, NodeTotals
from castray_desktop.core.content.manifest import HASH_BYTES
from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.core.failures.sentences import sentence
from castray_desktop.core.protocol.messages import (
    CastSummary,
    DeliverySnapshot,
    EngineSettings,
    RateSample,
    SendRequest,
)
from castray_desktop.core.routing.node_speeds import SpeedMeasurement
from castray_desktop.workers.agent.transfer.delivery.audit import RECEIPT_VERSION, ReceiptItem, Receipts
from castray_desktop.workers.agent.transfer.store import hash_cache, staging
from castray_desktop.workers.agent.transfer.store.hash_cache import FileKey, HashCache
from castray_desktop.workers.agent.transfer.store.journal import JOURNAL_MAGIC
from castray_desktop.workers.agent.transfer.store.staging import (
    Staging,
    StagingRegistry,
)
from castray_desktop.workers.base.home_format import HOME_FORMAT, check_home, mark_home
from castray_desktop.workers.base.paths import Paths
from castray_desktop.workers.casts.session.checkpoint import CastCheckpoint
from castray_desktop.workers.casts.speed_stores import DownloadMeasurement
from castray_desktop.workers.client.engine_client import EngineClient
from castray_desktop.workers.clusters.cluster_discovery import UsedCluster
from castray_desktop.workers.clusters.node_inventory import AddedNode
from castray_desktop.workers.history import history_store
from castray_desktop.workers.history.file_list_store import MAGIC
from castray_desktop.workers.history.history_store import HistoryStore
from castray_desktop.workers.http_api import idempotency_keys
from castray_desktop.workers.schedules.schedule_runner import ScheduleState
from tests.core.protocol.test_messages import without_descriptions
from tests.helpers.engine_home import EngineHome
from tests.helpers.samples import delivery_order
from tests.workers.engine.test_damaged_home import furnish

ROOT = Path(__file__).resolve().parents[3]
TABLES = (ROOT / "docs" / "state-files.md").read_text()
SECONDS = 60.0


def versions() -> dict[str, str]:
    """What the tables say about the version of each path."""
    rows = re.findall(r"^\| `((?:HOME|RUNTIME|TEMP|DEST)[^`]*)`[^|]* \| ([^|]*) \|", TABLES, re.MULTILINE)
    return {path: version.strip() for path, version in rows}


def tree(folder: Path) -> dict[str, bytes]:
    """Names and contents of all files below."""
    return {
        str(path.relative_to(folder)): b"" if path.is_dir() else path.read_bytes()
        for path in folder.rglob("*")
    }


@pytest.fixture
def newer(paths: Paths) -> Paths:
    """A home with every file, which a later version has opened last."""
    furnish(paths)
    (paths.home / "window.ini").write_text("[General]\nlanguage=en\nlater=1\n")
    (paths.home / "desktop.json").write_text("{}")
    (paths.home / "format.json").write_text(f'{{"format":{HOME_FORMAT + 1},"version":"9.8.7","more":[]}}')
    return paths


def assert_refused(text: str, home: Path) -> None:
    assert f"{home}/format.json was written by CastRay 9.8.7" in text
    assert "newer than this version" in text
    assert "Use CastRay 9.8.7 or a later version" in text


def program(paths: Paths, *words: str) -> subprocess.CompletedProcess[str]:
    """Run Python with these words in that home."""
    environment = os.environ | {
        "CASTRAY_HOME": str(paths.home),
        "XDG_RUNTIME_DIR": str(paths.socket.parent),
        "XDG_DATA_HOME": str(paths.home.parent / "data"),
        "XDG_CONFIG_HOME": str(paths.home.parent / "config"),
    }
    return subprocess.run(
        [sys.executable, *words],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )


FORM_OF_HOME = {1: "6b6f43d09fb3fc0b"}


# --- the home


def test_a_change_of_what_is_kept_raises_the_format() -> None:
    """Enter the new digest. Raise HOME_FORMAT as well if a release has written homes with that number."""
    kept = (
        *(
            EngineSettings,
            UsedCluster,
            AddedNode,
            SpeedMeasurement,
            DownloadMeasurement,
            CastCheckpoint,
            ScheduleState,
        ),
        *(SendRequest, CastSummary, DeliverySnapshot, CastTotals, NodeTotals, RateSample),
    )
    schemas = without_descriptions(msgspec.json.schema_components(kept)[1])
    form = json.dumps([schemas, *history_store._MIGRATIONS, idempotency_keys.SCHEMA], sort_keys=True)
    assert {HOME_FORMAT: hashlib.sha256(form.encode()).hexdigest()[:16]} == FORM_OF_HOME


def test_the_tables_say_of_each_file_where_its_version_is() -> None:
    said = versions()
    assert len(said) > 25
    own = {path: version for path, version in said.items() if "own: " in version}
    assert set(said.values()) - set(own.values()) == {"home", "—"}
    assert own == {
        "HOME/history.sqlite": f"home; own: `user_version` {history_store.VERSION}",
        "HOME/receipts/CAST-NODE.jsonl": f"own: `castray receipt` {RECEIPT_VERSION} in the first line",
        "HOME/files/CAST": f"home; own: `{MAGIC.decode().strip()}`, the first line",
        "HOME/api-keys.sqlite": f"home; own: `user_version` {idempotency_keys.VERSION}",
        "HOME/hashes.sqlite": f"own: `user_version` {hash_cache.VERSION}",
        "HOME/staging/CAST-NODE": f"own: `version` {staging.VERSION}",
        "DEST/.castray-CAST-NODE/": f"own: `{JOURNAL_MAGIC.decode().strip()}`, the first line of `journal`",
    }
    assert f"names, {HOME_FORMAT} now" in TABLES


def test_the_tables_name_each_file_of_a_home(newer: Paths) -> None:
    said = {re.sub(r"[A-Z]{3,}", "*", path.removeprefix("HOME/")) for path in versions()}
    for path in newer.home.rglob("*"):
        name = str(path.relative_to(newer.home))
        if path.is_file() and not name.startswith("run/"):
            assert any(Path(name).match(pattern) for pattern in said), name


@pytest.mark.parametrize(
    "words",
    [
        ("nodes",),
        ("send", __file__, "--to", "all"),
        ("history",),
        ("settings", "--casts-at-once", "1"),
        ("schedule", "add", "x", __file__, "--to", "all", "--every", "1h"),
        ("desktop", "install"),
        ("serve", "--port", "0"),
    ],
    ids=lambda words: words[0],
)
def test_a_command_refuses_it_and_changes_nothing(newer: Paths, words: tuple[str, ...]) -> None:
    before = tree(newer.home)
    done = program(newer, "-m", "castray_desktop", *words)
    assert done.returncode != 0
    assert done.stdout == ""
    assert_refused(done.stderr, newer.home)
    assert tree(newer.home) == before


def test_the_engine_refuses_it_and_changes_nothing(newer: Paths) -> None:
    before = tree(newer.home)
    done = program(newer, "-m", "castray_desktop.workers.engine.process")
    assert done.returncode == 1
    assert_refused(done.stderr, newer.home)
    assert tree(newer.home) == before


def test_the_window_refuses_it_and_changes_nothing(newer: Paths) -> None:
    before = tree(newer.home)
    done = program(newer, "-c", CLOSE_THE_BOX)
    assert done.returncode == 3, done.stderr
    assert_refused(done.stdout, newer.home)
    assert_refused(done.stderr, newer.home)
    assert tree(newer.home) == before


CLOSE_THE_BOX = """
import os, sys
os.environ["QT_QPA_PLATFORM"] = "offscreen"
from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication, QMessageBox
from castray_desktop import app

application = app.build_application()

def close():
    box = application.activeModalWidget()
    if isinstance(box, QMessageBox):
        print(box.text(), box.informativeText())
        box.accept()

timer = QTimer(interval=20)
timer.timeout.connect(close)
timer.start()
sys.exit(app.run([], None))
"""


async def test_a_client_says_why_there_is_no_engine(newer: Paths) -> None:
    with pytest.raises(CastRayError) as caught:
        await EngineClient.connect(newer, "test")
    assert caught.value.failure.kind is FailureKind.HOME_NEWER
    assert_refused(sentence(caught.value.failure), newer.home)


async def test_an_engine_of_the_later_version_can_be_used(engine_home: EngineHome) -> None:
    """Whether messages are understood is for the version of the protocol to say."""
    later = f'{{"format":{HOME_FORMAT + 1},"version":"9.8.7"}}'
    (engine_home.paths.home / "format.json").write_text(later)
    client = await engine_home.connect()
    await client.close()


def test_what_needs_no_home_works(newer: Paths) -> None:
    for words in (("--version",), ("help",)):
        assert program(newer, "-m", "castray_desktop", *words).returncode == 0


def test_a_home_without_a_format_is_older_and_gets_one(paths: Paths) -> None:
    check_home(paths.home)
    mark_home(paths.home, "1.2.3")
    written = json.loads((paths.home / "format.json").read_bytes())
    assert written == {"format": HOME_FORMAT, "version": "1.2.3"}
    mark_home(paths.home, "1.2.3")
    check_home(paths.home)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format":"high"}', "\0" * 40])
def test_a_damaged_format_is_set_aside(paths: Paths, content: str) -> None:
    path = paths.home / "format.json"
    path.write_text(content)
    check_home(paths.home)
    mark_home(paths.home, "1.2.3")
    assert json.loads(path.read_bytes())["format"] == HOME_FORMAT
    (aside,) = paths.home.glob("damaged-*-format.json")
    assert aside.read_text() == content


def test_a_newer_history_is_refused_on_its_own(paths: Paths) -> None:
    with contextlib.closing(sqlite3.connect(paths.history)) as database:
        database.execute(f"PRAGMA user_version = {history_store.VERSION + 1}")
    with pytest.raises(CastRayError) as caught:
        HistoryStore(paths.history)
    assert "written by a newer version" in sentence(caught.value.failure)
    assert not list(paths.home.glob("damaged-*"))


# --- files on a node


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a node's own files."""
    monkeypatch.setenv("CASTRAY_HOME", str(tmp_path / "node"))
    return tmp_path / "node"


def test_a_newer_receipt_is_refused_with_its_path(node: Path) -> None:
    receipts = Receipts()
    receipts.save(delivery_order("c0ffee"), "node_1", [ReceiptItem(b"a", b"/in/a", 3, b"h" * HASH_BYTES)])
    path = node / "receipts" / "c0ffee-node_1.jsonl"
    raise_version(path, f'"castray receipt": {RECEIPT_VERSION}')
    before = path.read_bytes()
    with pytest.raises(CastRayError) as caught:
        receipts.find("c0ffee", "node_1")
    text = sentence(caught.value.failure)
    assert text.startswith(f"{path} on node_1 was written by a newer version of CastRay")
    assert path.read_bytes() == before


def test_newer_hashes_are_not_used_and_stay(node: Path) -> None:
    key = FileKey(1, 2, 3, 4, 5)
    cache = HashCache(node)
    cache.save("md5", {key: b"h" * HASH_BYTES})
    assert cache.find("md5", [key])
    with contextlib.closing(sqlite3.connect(node / "hashes.sqlite")) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (hash_cache.VERSION,)
        database.execute(f"PRAGMA user_version = {hash_cache.VERSION + 1}")
    before = (node / "hashes.sqlite").read_bytes()
    cache.save("md5", {key: b"x" * HASH_BYTES})
    assert cache.find("md5", [key]) == {}
    assert (node / "hashes.sqlite").read_bytes() == before


@pytest.fixture
def left(node: Path, tmp_path: Path) -> Callable[[], Staging]:
    """Makes the staging folder of a delivery, or resumes it."""

    def stage() -> Staging:
        destination = os.fsencode(tmp_path / "dest")
        return Staging(destination, "c0ffee", "node_1", {}, StagingRegistry("engine"))

    return stage


def test_a_newer_record_and_what_it_names_are_left_alone(left: Callable[[], Staging], node: Path) -> None:
    left().keep()
    record = node / "staging" / "c0ffee-node_1"
    content = json.loads(record.read_text())
    # The process that has left it has ended, and its machine has been started again.
    record.write_text(json.dumps({**content, "boot": "", "version": staging.VERSION + 1}))
    registry = StagingRegistry("engine")
    assert registry.remove_abandoned() == []
    assert registry.abandoned_delivery("c0ffee", "node_1") is None
    record.write_text(json.dumps({**content, "boot": ""}))
    assert len(registry.remove_abandoned()) == 1


def test_a_newer_staging_folder_is_neither_resumed_nor_removed(
    left: Callable[[], Staging], tmp_path: Path
) -> None:
    left().keep()
    (folder,) = (tmp_path / "dest").iterdir()
    raise_version(folder / "journal", JOURNAL_MAGIC.decode().strip())
    before = tree(tmp_path / "dest")
    with pytest.raises(FileExistsError, match=r"a later version of CastRay.*dest/\.castray-c0ffee-node_1"):
        left()
    assert tree(tmp_path / "dest") == before


def raise_version(path: Path, text: str) -> None:
    """Put a number that is one higher in the place of the one at the end of `text`."""
    number = re.search(r"\d+$", text)
    assert number is not None
    raised = text[: number.start()] + str(int(number[0]) + 1)
    content = path.read_text()
    assert text in content
    path.write_text(content.replace(text, raised, 1))
