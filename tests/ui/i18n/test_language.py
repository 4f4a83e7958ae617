"""English and Chinese: equal, complete, readable at the smallest size, and changed without a restart."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest
from PySide6.QtCore import QCoreApplication, QEvent, QEventLoop, QSettings
from PySide6.QtGui import QFontDatabase, QFontMetrics
from PySide6.QtWidgets import QAbstractButton, QApplication, QLabel, QToolButton, QWidget

from castray_desktop.core.failures.kinds import Failure, FailureKind
from castray_desktop.core.failures.sentences import TEMPLATES
from castray_desktop.core.protocol.messages import CastState, DeliveryState
from castray_desktop.ui.i18n.failure_text import explain_failure
from castray_desktop.ui.i18n.language import CHINESE, ENGLISH, SYSTEM, Language, system_language
from castray_desktop.ui.theme.fonts import load_fonts
from castray_desktop.ui.widgets.basic_widgets import ElidedLabel
from castray_desktop.ui.window.main_window import MainWindow
from tests.helpers import fake_engine as fake
from tests.helpers.desktop.seen import accessible, painted, said, unnamed
from tests.ui import scenes

CJK = re.compile(r"[\u3400-\u9fff]")
NAMES = re.compile(
    r"llama\S+|RAY_TLS_CA_CERT|CastRay|Ray|Python|English|Language|Ctrl|Shift|Alt|Enter|Del|CSV|JSON|UDP|uv"
    r"|CPU|GPU|UTF|PB|TB|GB|MB|KB|B/s|Mbit/s|blake3[ :]\S+|host:6379|ray://host:10001|\{node\}"
    r"|Hugging Face Hub|Hub|hf auth login|(hf|s3|gs|az|https)://|https、hf、s3、gs 或 az"
    r"|rename|overwrite|plain|https"
    r"|[\w./@{}-]*[/._@-][\w./@{}-]*|ubuntu-ws|configs"
)
"""What is written in Latin letters in Chinese too: names, units, paths, keys, and the language's own name."""


@pytest.fixture(scope="module")
def fonts(qapp: QApplication) -> None:
    load_fonts()
    if not QFontDatabase.families(QFontDatabase.WritingSystem.SimplifiedChinese):
        pytest.skip("no font on this machine has Chinese letters")


def english_in(text: str) -> str:
    """The words of a text that are neither Chinese nor a name."""
    return " ".join(re.findall(r"[A-Za-z]{2,}", NAMES.sub(" ", text)))


@dataclass(frozen=True)
class Look:
    """All that a window says."""

    said: list[str]
    painted: list[str]
    cut_off: list[str]
    parts: int
    unnamed: list[str]

    @classmethod
    def of(cls, window: MainWindow) -> Look:
        while window.send_panel.preflight.waiting:
            QApplication.processEvents(QEventLoop.ProcessEventsFlag.WaitForMoreEvents)
        for _ in range(3):
            QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
            QApplication.processEvents()
        parts = sum(1 for _ in accessible(window))
        return cls(said(window), sorted(painted(window)), cut_off(window), parts, unnamed(window))


@dataclass(frozen=True)
class Looks:
    """A scene in a window of the smallest size: in each language, and switched there and back."""

    made: dict[str, Look]
    switched: dict[str, Look]


@pytest.fixture(
    scope="module", params=["busy", "empty", "first_run", "failed", "no_room", "refused", "closing"]
)
def looks(request: pytest.FixtureRequest, qapp: QApplication, fonts: None) -> Looks:
    scene: scenes.Scene = getattr(scenes, request.param)
    made, switched = {}, {}
    for spoken, other in ((ENGLISH, CHINESE), (CHINESE, ENGLISH)):
        with scenes.fake_window(qapp, spoken=spoken) as (window, link):
            window.resize(1024, 700)
            window.show()
            scene(window, link)
            made[spoken] = Look.of(window)
            window.header.language_menu.aboutToShow.emit()
            window.header.language.choose(other)
            switched[other] = Look.of(window)
    return Looks(made, switched)


def cut_off(window: QWidget) -> list[str]:
    """Labels and buttons that show less than they have to say."""
    return [text for widget in window.findChildren(QWidget) if (text := _cut_off(widget))]


def _cut_off(widget: QWidget) -> str:
    if not widget.isVisible() or isinstance(widget, QToolButton):  # those show an icon alone
        return ""
    if isinstance(widget, ElidedLabel):
        return widget.full_text() if widget.text() != widget.full_text() else ""
    if isinstance(widget, QLabel) and widget.wordWrap():
        return widget.text() if widget.heightForWidth(widget.width()) > widget.height() + 2 else ""
    if isinstance(widget, QLabel | QAbstractButton):
        if not widget.parentWidget().rect().contains(widget.geometry()):
            return f"{widget.text()} reaches out of what holds it"
        needed = QFontMetrics(widget.font()).horizontalAdvance(widget.text())
        return widget.text() if needed > widget.width() + 1 else ""
    return ""


@pytest.mark.parametrize(
    ("wanted", "spoken"),
    [
        (["zh-Hans-CN", "zh-CN", "zh"], CHINESE),
        (["zh_CN"], CHINESE),
        (["en-GB", "en", "zh-CN"], ENGLISH),
        (["fr-FR", "fr", "zh-CN"], CHINESE),
        (["de-DE"], ENGLISH),
        (["C"], ENGLISH),
        ([], ENGLISH),
    ],
)
def test_the_systems_languages_are_followed_in_their_order(wanted: list[str], spoken: str) -> None:
    assert system_language(wanted) == spoken


def test_a_choice_is_kept_and_a_wrong_one_is_not(qapp: QApplication, settings: QSettings) -> None:
    first = Language(settings)
    assert first.choice == SYSTEM
    first.choose(CHINESE)
    assert first.spoken == CHINESE
    assert QCoreApplication.translate("Header", "Idle") == "空闲"
    assert QCoreApplication.translate("QPlatformTheme", "Cancel") == "取消"
    first.stop()
    assert QCoreApplication.translate("Header", "Idle") == "Idle"
    again = Language(settings)
    again.start()
    assert (again.choice, again.spoken) == (CHINESE, CHINESE)
    again.stop()
    settings.setValue("language", "tlh")
    assert Language(settings).choice == SYSTEM


def test_the_menu_of_the_header_changes_the_language(window: MainWindow) -> None:
    header = window.header
    header.language_menu.aboutToShow.emit()
    names = [action.text() for action in header.language_menu.actions()]
    assert names == ["Same as the system", "English", "简体中文"]
    header.language_menu.actions()[2].trigger()
    QApplication.processEvents()
    assert "语言 / Language" in header.language_button.accessibleName()
    header.language_menu.aboutToShow.emit()
    chosen = [action.text() for action in header.language_menu.actions() if action.isChecked()]
    assert chosen == ["简体中文"]
    assert window.header.upload.text() == "空闲"


@pytest.mark.parametrize("spoken", [ENGLISH, CHINESE])
def test_a_change_leaves_no_word_of_the_old_language(looks: Looks, spoken: str) -> None:
    """A window that was switched says what one says that was made in the language."""
    assert looks.switched[spoken].said == looks.made[spoken].said
    assert looks.switched[spoken].painted == looks.made[spoken].painted


def test_nothing_is_left_in_english(looks: Looks) -> None:
    chinese = looks.made[CHINESE]
    assert sum(bool(CJK.search(text)) for text in chinese.said + chinese.painted) > 60
    left = [text for text in chinese.said if english_in(text.partition(": ")[2])]
    left += [text for text in chinese.painted if english_in(text)]
    # What another program says comes as it is.
    assert [text for text in left if text not in RAYS_WORDS and RAYS_WORDS not in text] == []


RAYS_WORDS = "port 6379 is taken by another program"


@pytest.mark.parametrize("spoken", [ENGLISH, CHINESE])
def test_nothing_is_cut_off_at_the_smallest_size(looks: Looks, spoken: str) -> None:
    look = looks.made[spoken]
    # A warning about a recipient names its path; the whole of it is in the tool tip.
    assert [text for text in look.cut_off if "/home/ada" not in text] == []
    assert [run for run in look.painted if "…" in run and not MEANT.search(run)] == []


MEANT = re.compile(r"blake3|tensors|/home|^(Starting|正在启动|Reconnecting|正在重新连接)?…$")


@pytest.mark.parametrize("spoken", [ENGLISH, CHINESE])
def test_everything_that_can_be_used_has_a_name_for_a_screen_reader(looks: Looks, spoken: str) -> None:
    assert looks.made[spoken].parts > 40
    assert looks.made[spoken].unnamed == []


def test_every_state_has_a_chinese_word(qapp: QApplication, settings: QSettings) -> None:
    from castray_desktop.ui.transfers.transfer_text import cast_status, delivery_status

    language = Language(settings)
    language.choose(CHINESE)
    words = [cast_status(fake.sending_cast(state=state)) for state in CastState]
    words += [delivery_status(fake.m.DeliverySnapshot("n", state)) for state in DeliveryState]
    language.stop()
    assert [word for word in words if not CJK.search(word) or english_in(word)] == []


HOOKS = {
    "done": "已完成",
    'not allowed on this node: allow it there with {"hooks": true} in /etc/x.json': (
        '该节点不允许：请在该节点的 /etc/x.json 中写入 {"hooks": true} 以允许'
    ),
    "not allowed on this node: sh is not in its list of programs": "该节点不允许：sh 不在允许的程序之列",
    "exited with status 4: no: service": "以状态码 4 结束：no: service",
    "was killed by signal 9": "被信号 9 终止",
}


@pytest.mark.parametrize("status", HOOKS)
def test_a_command_after_a_delivery_is_told_in_chinese(
    qapp: QApplication, settings: QSettings, status: str
) -> None:
    from castray_desktop.ui.transfers.transfer_text import hook_text

    delivery = fake.m.DeliverySnapshot("node_1", hook_status=status)
    assert hook_text(delivery) == f"Command after delivery: {status}"
    language = Language(settings)
    language.choose(CHINESE)
    text = hook_text(delivery)
    language.stop()
    assert text == f"完成后的命令：{HOOKS[status]}"


def test_several_files_have_a_chinese_name(qapp: QApplication, settings: QSettings) -> None:
    from castray_desktop.ui.window.notifications import result_words

    cast = fake.sending_cast(name="model.bin", others=2, state=CastState.COMPLETED)
    result = fake.m.CastResult(cast, (), 1.0)
    assert result_words(result).happened == "model.bin and 2 more arrived on 3 nodes"
    language = Language(settings)
    language.choose(CHINESE)
    words = result_words(result).happened
    language.stop()
    assert words.startswith("model.bin 及另外 2 项")
    assert english_in(words.replace("model.bin", "")) == ""


@pytest.mark.parametrize("kind", list(FailureKind))
def test_every_failure_is_explained_in_chinese(
    qapp: QApplication, settings: QSettings, kind: FailureKind
) -> None:
    values = {"path": "/data/a.bin", "node": "node_1", "reason": "Permission denied", "what": "a socket"}
    language = Language(settings)
    language.choose(CHINESE)
    explanation = explain_failure(Failure(kind, values))
    language.stop()
    assert CJK.search(explanation.happened)
    assert bool(explanation.remedy) is bool(TEMPLATES[kind].remedy)
    commands = re.compile(
        r"--(cluster|encrypt|links|transport) (HOST:PORT|\w+)|--\w+|castray \w+( \w+)?|\bray\b|\bID\b|\bTLS\b"
        r"|mount -o [\w,=]+|MB|kB|Mbit"
    )
    assert english_in(commands.sub("", explanation.text)) == ""


def test_a_failure_inside_a_failure_is_said_in_the_same_language(
    qapp: QApplication, settings: QSettings
) -> None:
    values = {"count": "1", "total": "3", "because": "not_sendable", "path": "pipe", "what": "a named pipe"}
    failure = Failure(FailureKind.FILES_FAILED, values)
    assert explain_failure(failure).text == (
        "1 of 3 files were not delivered. pipe is a named pipe and can't be sent. Everything else arrived."
    )
    language = Language(settings)
    language.choose(CHINESE)
    text = explain_failure(failure).text
    language.stop()
    assert text == "3 个文件中有 1 个未送达。无法发送 pipe：它是命名管道。其余内容均已送达。"
