"""What is said of the errors of calls through Ray."""

from __future__ import annotations

import traceback

import ray.exceptions

from castray_desktop.workers.driver.ray_calls import reason_of


def raised_remotely(error: Exception) -> ray.exceptions.RayTaskError:
    """As Ray raises an error of a remote method where the method was called."""
    try:
        raise error
    except type(error):
        return ray.exceptions.RayTaskError("start", traceback.format_exc(), error).as_instanceof_cause()


def test_an_error_of_a_remote_method_is_told_as_it_was_raised() -> None:
    assert reason_of(raised_remotely(ValueError("not a port"))) == "ValueError: not a port"
    taken = OSError(98, "Address already in use")
    assert reason_of(raised_remotely(taken)) == "OSError: [Errno 98] Address already in use"


def test_other_errors_are_told_in_one_line() -> None:
    assert reason_of(ConnectionError("no route")) == "ConnectionError: no route"
    assert reason_of(RuntimeError("no GPU\nThe actor never ran - it was killed")) == "RuntimeError: no GPU"
    assert reason_of(TimeoutError()) == "TimeoutError: "
