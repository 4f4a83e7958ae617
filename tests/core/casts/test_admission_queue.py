"""The order in which queued casts start."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from castray_desktop.core.casts.admission_queue import AdmissionQueue

CASTS = st.sampled_from("abcdef")
STEPS = st.one_of(
    st.tuples(st.sampled_from(("enqueue", "withdraw", "remove")), CASTS),
    st.tuples(st.just("move"), CASTS, st.integers(-1, 7)),
    st.tuples(st.just("set_max_running"), st.integers(0, 4)),
    st.tuples(st.just("admit")),
)


@given(st.lists(STEPS), st.integers(0, 4))
def test_the_limit_holds_and_every_cast_is_admitted(steps: list[tuple[object, ...]], bound: int) -> None:
    queue, running, asking = AdmissionQueue(bound), set[str](), set[str]()
    for name, *values in steps:
        found = None
        if name == "set_max_running":
            queue.max_running = bound = int(str(values[0]))
        else:
            found = getattr(queue, str(name))(*values)
        cast = str(values[0]) if values else ""
        if name == "enqueue" and cast not in running:
            asking.add(cast)
        elif name in ("withdraw", "remove"):
            asking.discard(cast)
            running.discard(cast)
        elif name == "admit":
            assert found is not None
            assert not set(found) & running
            asking.difference_update(found)
            before, running = len(running), running | set(found)
            assert not bound or not found or len(running) <= bound
            assert not asking or (bound and max(before, len(running)) >= bound)
        assert set(queue.waiting) == asking
        assert len(queue.order) == len(set(queue.order))
        assert set(queue.order) >= asking | running


def waiting(*casts: str, bound: int = 1) -> AdmissionQueue:
    queue = AdmissionQueue(bound)
    for cast in casts:
        queue.enqueue(cast)
    return queue


def test_the_first_that_came_is_the_next() -> None:
    queue = waiting("a", "b", "c", bound=2)
    assert queue.admit() == ("a", "b")
    assert queue.admit() == ()
    queue.remove("a")
    assert queue.admit() == ("c",)


def test_a_paused_cast_keeps_its_position_and_blocks_no_other() -> None:
    queue = waiting("a", "b", "c", "d")
    assert queue.admit() == ("a",)
    queue.withdraw("a")
    assert queue.admit() == ("b",)
    queue.enqueue("a")
    queue.remove("b")
    assert queue.admit() == ("a",)


def test_places_can_be_changed() -> None:
    queue = waiting("a", "b", "c", "d")
    assert queue.admit() == ("a",)
    assert queue.move("d", 0)
    assert queue.waiting == ("d", "b", "c")
    assert queue.move("d", 9)
    assert queue.waiting == ("b", "c", "d")
    assert not queue.move("a", 0)
    assert queue.order[0] == "a"
