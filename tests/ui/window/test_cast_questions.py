"""Whatever ends, hides or endangers a running cast is asked first, by name, on the screen."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from pytestqt.qtbot import QtBot

from castray_desktop.core.failures.kinds import Failure, FailureKind
from castray_desktop.core.protocol import messages as m
from castray_desktop.core.protocol.messages import CastState, ClusterPhase, ClusterStatus, NodeState
from castray_desktop.ui.i18n.language import CHINESE, Language
from castray_desktop.ui.model import preferences
from castray_desktop.ui.window.main_window import MainWindow
from tests.helpers import fake_engine as fake
from tests.helpers.desktop.on_screen import click, hidden_because
from tests.helpers.desktop.seen import painted
from tests.helpers.fake_engine import FakeLink
from tests.ui.window.test_main_window import button

OTHER = "10.0.4.10:6379"
Asked = type[m.LeaveCluster] | type[m.UseCluster] | type[m.ShareCluster]


def leave(window: MainWindow) -> None:
    window.header.menu.leave_requested.emit()


def use(window: MainWindow) -> None:
    window.header.menu.use_requested.emit(OTHER)


def share(window: MainWindow) -> None:
    window.header.menu.share_requested.emit()


@pytest.mark.parametrize(
    ("does", "command", "answer", "becomes"),
    [
        (leave, m.LeaveCluster, "Stop cluster", "ends running casts"),
        (use, m.UseCluster, "Switch", "continues there"),
        (share, m.ShareCluster, "Let other machines join", "Running casts continue."),
    ],
)
def test_one_question_names_the_casts_and_what_happens_to_them(
    window: MainWindow,
    link: FakeLink,
    does: Callable[[MainWindow], None],
    command: Asked,
    answer: str,
    becomes: str,
) -> None:
    link.start(fake.busy_welcome())
    does(window)
    assert link.asked(command) == []
    assert hidden_because(window.banner) == ""
    assert "qwen2.5-14b-instruct/ is still being sent." in window.banner.text()
    assert becomes in window.banner.text()
    click(button(window.banner, answer))
    assert len(link.asked(command)) == 1
    window.close_sheets()


@pytest.mark.parametrize(
    ("casts", "says"),
    [
        (2, "data-1 and data-0 are still being sent."),
        (3, "data-2, data-1 and data-0 are still being sent."),
        (5, "data-4, data-3, data-2 and 2 more are still being sent."),
    ],
)
def test_a_question_names_a_few_casts(window: MainWindow, link: FakeLink, casts: int, says: str) -> None:
    running = tuple(
        fake.sending_cast(cast=f"c0ffee00001{number}", name=f"data-{number}", folder=False, started=number)
        for number in range(casts)
    )
    link.start(msgspec.structs.replace(fake.busy_welcome(), casts=running, deliveries={}))
    leave(window)
    assert says in window.banner.text()


def test_no_question_without_a_running_cast(window: MainWindow, link: FakeLink) -> None:
    link.start(msgspec.structs.replace(fake.busy_welcome(), casts=(), deliveries={}))
    leave(window)
    assert link.asked(m.LeaveCluster) == [m.LeaveCluster()]
    use(window)
    assert link.asked(m.UseCluster) == [m.UseCluster(OTHER)]


def shared_welcome(joined: int) -> m.Welcome:
    """A shared cluster that so many other machines have joined; nothing is being sent."""
    here = fake.node("ubuntu-ws", 1, this_computer=True)
    others = tuple(fake.node(f"gpu-{number}", 10 + number) for number in range(joined))
    shared = fake.local_cluster(target="shared")
    return msgspec.structs.replace(fake.empty_welcome(), cluster=shared, nodes=(here, *others))


LEAVES = "Another machine is in this cluster. Its nodes leave when it stops."
STOPS = (
    "Without this window, the cluster stops as soon as nothing else uses it. To come back, a machine has to"
    " join again."
)
BACKGROUND = (
    "In the background, CastRay ends when everything has been sent and no other machine is in the cluster."
    " Until then, start it again to show this window."
)


@pytest.mark.parametrize(
    ("joined", "says"),
    [
        (1, "Another machine is in this cluster. Its nodes leave when it stops."),
        (3, "3 other machines are in this cluster. Their nodes leave when it stops."),
    ],
)
def test_stopping_a_shared_cluster_says_which_machines_leave(
    window: MainWindow, link: FakeLink, joined: int, says: str
) -> None:
    here = fake.node("ubuntu-ws", 1, this_computer=True)
    demo = fake.node("node_1", 2, node_id=here.node_id)
    others = [fake.node(f"gpu-{number}", 10 + number) for number in range(joined)]
    beside = fake.node("gpu-0b", 10, node_id=others[0].node_id)  # on the first of them
    gone = fake.node("gpu-9", 99, state=NodeState.OFFLINE)
    welcome = msgspec.structs.replace(
        fake.busy_welcome(),
        cluster=fake.local_cluster(target="shared"),
        nodes=(here, demo, *others, beside, gone),
        casts=(),
        deliveries={},
    )
    link.start(welcome)
    leave(window)
    assert link.asked(m.LeaveCluster) == []
    assert hidden_because(window.banner) == ""
    assert window.banner.text() == f"{says} To come back, a machine has to join again."
    click(button(window.banner, "Stop cluster"))
    assert link.asked(m.LeaveCluster) == [m.LeaveCluster()]


def test_stopping_a_shared_cluster_names_its_casts_as_well(window: MainWindow, link: FakeLink) -> None:
    shared = fake.local_cluster(target="shared")
    link.start(msgspec.structs.replace(fake.busy_welcome(), cluster=shared))
    leave(window)
    assert "3 other machines are in this cluster." in window.banner.text()
    assert "qwen2.5-14b-instruct/ is still being sent. Stopping the cluster ends" in window.banner.text()


def test_a_shared_cluster_that_nobody_has_joined_is_stopped_at_once(
    window: MainWindow, link: FakeLink
) -> None:
    here = fake.node("ubuntu-ws", 1, this_computer=True)
    shared = fake.local_cluster(target="shared")
    link.start(msgspec.structs.replace(fake.empty_welcome(), cluster=shared, nodes=(here,)))
    leave(window)
    assert link.asked(m.LeaveCluster) == [m.LeaveCluster()]


def test_switching_away_from_a_shared_cluster_says_which_machines_leave(
    window: MainWindow, link: FakeLink
) -> None:
    link.answers[m.GetStatus] = lambda command: fake.engine_status()
    link.start(shared_welcome(1))
    use(window)
    assert link.asked(m.UseCluster) == []
    assert window.banner.text() == f"{LEAVES} {STOPS}"
    click(button(window.banner, "Switch"))
    assert link.asked(m.UseCluster) == [m.UseCluster(OTHER)]


def test_switching_asks_nothing_if_the_shared_cluster_is_kept(window: MainWindow, link: FakeLink) -> None:
    link.answers[m.GetStatus] = lambda command: fake.engine_status(kept=True, cluster_kept=True)
    link.start(shared_welcome(1))
    use(window)
    assert link.asked(m.UseCluster) == [m.UseCluster(OTHER)]


def test_switching_asks_if_the_setting_then_keeps_the_other_cluster(
    window: MainWindow, link: FakeLink
) -> None:
    link.answers[m.GetStatus] = lambda command: fake.engine_status(kept=True, cluster_kept=True)
    window.preferences.set(preferences.BACKGROUND, True)
    link.start(shared_welcome(1))
    use(window)
    assert link.asked(m.UseCluster) == []
    assert LEAVES in window.banner.text()


def test_closing_says_which_machines_leave_the_shared_cluster(
    qtbot: QtBot, window: MainWindow, link: FakeLink
) -> None:
    link.answers[m.GetStatus] = lambda command: fake.engine_status()
    link.start(shared_welcome(1))
    with qtbot.assertNotEmitted(window.quit_requested):
        window.close()
    assert window.banner.text() == f"{LEAVES} {STOPS} {BACKGROUND}"
    with qtbot.waitSignal(window.quit_requested):
        click(button(window.banner, "Close the window"))


def test_closing_names_casts_and_machines(window: MainWindow, link: FakeLink) -> None:
    link.answers[m.GetStatus] = lambda command: fake.engine_status()
    link.start(shared_welcome(2))
    link.say(m.CastChanged(fake.sending_cast()))
    window.close()
    assert window.banner.text() == (
        "qwen2.5-14b-instruct/ is still being sent. 2 other machines are in this cluster. Their nodes leave"
        f" when it stops. {STOPS} {BACKGROUND}"
    )
    button(window.banner, "Stop, and continue next time")
    link.say(m.CastResult(fake.sending_cast(state=CastState.COMPLETED), (), 2.0))
    assert window.banner.text().startswith("2 other machines are in this cluster.")
    button(window.banner, "Close the window")
    detached = fake.engine_status(kept=True, kept_until=("c0ffee000009",))
    link.answers[m.GetStatus] = lambda command: detached
    link.say(m.CastChanged(fake.sending_cast(cast="c0ffee000009")))
    link.say(m.NodesChanged((fake.node("gpu-2", 12),)))
    assert window.banner.text().startswith("3 other machines are in this cluster.")
    link.say(m.NodesChanged((), ("gpu-0", "gpu-1", "gpu-2")))
    assert not window.banner.isVisible()


@pytest.mark.parametrize(("joined", "kept"), [(0, False), (1, True)])
def test_closing_asks_nothing_if_no_machine_loses_the_shared_cluster(
    qtbot: QtBot, window: MainWindow, link: FakeLink, joined: int, kept: bool
) -> None:
    link.answers[m.GetStatus] = lambda command: fake.engine_status(kept=kept, cluster_kept=kept)
    link.start(shared_welcome(joined))
    with qtbot.waitSignal(window.quit_requested):
        window.close()
    assert not window.banner.isVisible()


def test_closing_asks_if_the_engine_is_kept_for_another_cluster(window: MainWindow, link: FakeLink) -> None:
    """Its casts continue, so only the machines are at stake."""
    link.answers[m.GetStatus] = lambda command: fake.engine_status(kept=True)
    link.start(shared_welcome(1))
    link.say(m.CastChanged(fake.sending_cast()))
    window.close()
    assert window.banner.text().startswith(LEAVES)


def test_in_the_background_the_window_stays_while_machines_are_in_the_cluster(
    qtbot: QtBot, window: MainWindow, link: FakeLink
) -> None:
    link.answers[m.GetStatus] = lambda command: fake.engine_status()
    link.start(shared_welcome(1))
    link.say(m.CastChanged(fake.sending_cast()))
    window.close()
    with qtbot.assertNotEmitted(window.quit_requested):
        click(button(window.banner, "Keep running in the background"))
        assert window.isHidden()
        link.say(m.CastResult(fake.sending_cast(state=CastState.COMPLETED), (), 2.0))
        link.say(m.NodesChanged((fake.node("gpu-0", 10, state=NodeState.OFFLINE),)))  # it may come back
    with qtbot.waitSignal(window.quit_requested):
        link.say(m.NodesChanged((), ("gpu-0",)))


def test_sharing_says_what_it_opens_even_with_no_cluster(window: MainWindow, link: FakeLink) -> None:
    link.start(fake.empty_welcome())
    window.welcome_page.local.share.setChecked(True)
    window.welcome_page.local.start_button.click()
    assert link.asked(m.ShareCluster) == []
    assert hidden_because(window.banner) == ""
    assert "opens Ray's ports on every network" in window.banner.text()
    assert "Anyone with the token can run programs here" in window.banner.text()


def test_chinese_sentences_have_no_space_between_them(
    window: MainWindow, link: FakeLink, language: Language
) -> None:
    language.choose(CHINESE)
    link.start(fake.busy_welcome())
    share(window)
    assert window.banner.text().count("。") >= 4
    assert "。 " not in window.banner.text()


# --- a person's own act, and messages whose cause is gone ------------------------------------------


def test_a_cluster_that_the_user_ended_is_no_error(qtbot: QtBot, window: MainWindow, link: FakeLink) -> None:
    link.start(fake.busy_welcome())
    cancelled = Failure(FailureKind.CANCELLED)
    link.say(m.CastResult(fake.sending_cast(state=CastState.CANCELLED, failure=cancelled), (), 2.0))
    window.show_failure(cancelled)
    assert not window.banner.isVisible()
    assert not window.toast.isVisible()


def test_a_cluster_that_a_person_has_stopped_is_no_error(window: MainWindow, link: FakeLink) -> None:
    link.start(fake.busy_welcome())
    leave(window)
    click(button(window.banner, "Stop cluster"))
    stopped = Failure(FailureKind.CLUSTER_STOPPED)
    link.say(m.CastResult(fake.sending_cast(state=CastState.FAILED, failure=stopped), (), 2.0))
    link.say(m.ClusterChanged(ClusterStatus()))
    assert not window.banner.isVisible()
    assert not window.toast.isVisible()


def test_a_message_goes_when_its_cause_is_gone(window: MainWindow, link: FakeLink) -> None:
    link.start(fake.busy_welcome())
    link.say(m.ClusterChanged(ClusterStatus()))
    window.show_failure(Failure(FailureKind.CLUSTER_STOPPED))
    assert hidden_because(window.banner) == ""
    link.say(m.ClusterChanged(ClusterStatus(ClusterPhase.STARTING, "local")))
    assert window.banner.isVisible()
    link.say(m.ClusterChanged(fake.local_cluster()))
    assert not window.banner.isVisible()
    window.show_failure(Failure(FailureKind.NODE_NOT_REMOVABLE, {"node": "node_1"}))
    link.say(m.ClusterChanged(fake.local_cluster()))
    assert window.banner.isVisible()


def test_a_cast_of_another_cluster_is_not_drawn_on_this_ones_nodes(
    qtbot: QtBot, window: MainWindow, link: FakeLink
) -> None:
    link.start(fake.busy_welcome())
    other = msgspec.structs.replace(fake.sending_cast(), cast="c0ffee00000a", cluster=m.CastCluster.of(OTHER))
    link.say(m.CastChanged(other))
    window.table.select_cast("c0ffee00000a")
    assert window.nodes.cast is None
    assert any(OTHER in text for text in painted(window.table))
    window.table.select_cast("c0ffee000001")
    assert window.nodes.cast is not None


def test_after_a_switch_the_graph_no_longer_shows_the_other_clusters_cast(
    window: MainWindow, link: FakeLink
) -> None:
    link.start(fake.busy_welcome())
    link.say(m.CastChanged(fake.sending_cast(cluster=m.CastCluster.of("local"))))
    window.table.select_cast("c0ffee000001")
    assert window.nodes.cast is not None
    link.say(m.ClusterChanged(ClusterStatus(ClusterPhase.READY, OTHER)))
    assert window.nodes.cast is None
