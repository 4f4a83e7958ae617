"""A cluster to send files with, for programs. Its methods block until they are done."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import os
import queue
import sys
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator
from itertools import filterfalse
from types import TracebackType
from typing import Any, Literal, Self, TypedDict, TypeVar, Unpack

import msgspec

from castray_desktop.cli.session import Session
from castray_desktop.core.casts.json_views import (
    CastForm,
    FileForm,
    NodeForm,
    ResultForm,
    cast_form,
    file_form,
    node_form,
    options_from_json,
    result_form,
)
from castray_desktop.core.content.quantities import parse_limit
from castray_desktop.core.content.urls import is_url
from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.core.failures.sentences import sentence
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import SendRequest
from castray_desktop.python.progress_bars import Progress, bars_for, has_viewer
from castray_desktop.workers.agent.transfer.source.scanner import check_paths
from castray_desktop.workers.clusters.node_inventory import is_this_computer

CLOSED = "the connection to CastRay is closed"


class LoopThread:
    """Runs coroutines for other threads. `close` ends it."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="castray", daemon=True)
        self._thread.start()

    def start(self, work: Coroutine[Any, Any, Result]) -> concurrent.futures.Future[Result]:
        """Start `work`; the future has its result."""
        if self._loop.is_closed():
            work.close()
            raise RuntimeError(CLOSED)
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run `work` and return its result. It is cancelled when the caller is interrupted."""
        future = self.start(work)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """End the thread and cancel its tasks. Does nothing the second time."""
        if self._loop.is_closed():
            return
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop):  # which cancels the tasks, and closes the loop
            self._loop.run_forever()


PAGE = 500
"""Casts of the history, or files of a cast, that are requested from the engine at once."""

Names = str | Iterable[str]
Paths = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]

Result = TypeVar("Result")
ReplyType = TypeVar("ReplyType", bound=messages.Message)


class CommandFailed(RuntimeError):
    """A request failed. The text says what happened and what to do."""

    def __init__(self, error: CastRayError) -> None:
        super().__init__(sentence(error.failure))
        self.kind: str = error.failure.kind.value
        """The kind of failure, for programs: "node_unknown", "no_cluster" and so on."""


def connect(target: str = "auto", *, progress: Progress = None) -> Cluster:
    """Connect to a cluster, starting what is needed. Raises CommandFailed.

    `target` is "local", "HOST:PORT" or "ray://HOST:PORT". With "auto" it is the cluster of the Ray driver
    that this runs in, else the one that CastRay has in use, else the one that this machine is a node of.
    Where there is none, a home that has never used another cluster gets the demo on this computer, and
    standard error says so.

    `progress` says how casts are shown that this program waits for: bars where a person looks (None), bars
    in any case (True), nothing (False), or a function that is called with each `CastForm`.

    Use it in a `with` statement, or close it. It may be used from any thread, and where an event loop runs.

        with connect() as cluster:
            result = cluster.send("model.safetensors", to="all", dest="/data/models")
            assert result.delivered
    """
    return Cluster(_session_target(target), progress)


def _session_target(target: str) -> str | None:
    """The target for a session; None: the cluster in use, or that of this machine."""
    if target != "auto":
        return target
    ray = sys.modules.get("ray")  # looked up, not imported: the program may not use Ray
    if ray is not None and ray.is_initialized():
        address: str = ray.get_runtime_context().gcs_address
        return address
    return os.environ.get("CASTRAY_CLUSTER") or None


class SendArguments(TypedDict, total=False):
    """The keyword arguments of `send` and `start`."""

    source: str
    dest: str | os.PathLike[str]
    on_conflict: Literal["skip", "rename", "overwrite"]
    links: Literal["auto", "keep", "follow"]
    exclude: str | Iterable[str]
    include: str | Iterable[str]
    limit: int | str
    transport: Literal["auto", "direct", "ray", "udp"]
    encrypt: Literal["auto", "always", "never"]
    await_offline: bool
    remove_extra: bool
    layout: Literal["plain", "hf-cache"]
    hook: str


class Cluster:
    """Sends files over one cluster. Made by `connect`."""

    def __init__(self, target: str | None, progress: Progress) -> None:
        self._progress = progress
        self._listeners: set[Callable[[messages.Event], None]] = set()
        self._session = Session(on_event=self._on_event, quiet=not has_viewer())
        self._cache = self._session.cache
        self._loop = LoopThread()
        self._opened: contextlib.AsyncExitStack | None = None  # what `close` closes
        try:
            self._opened = self._run(self._open(target))
        except BaseException:
            self._loop.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leave the cluster. An engine that was started for this ends with it.

        Does nothing the second time.
        """
        if self._opened is not None:
            opened, self._opened = self._opened, None
            self._run(opened.aclose())
        self._loop.close()

    # --- nodes and casts --------------------------------------------------------------------------

    def nodes(self) -> tuple[NodeForm, ...]:
        """The nodes of the cluster, as they are now."""
        return self._read(lambda: tuple(node_form(node) for node in self._cache.nodes.values()))

    def casts(self) -> tuple[CastForm, ...]:
        """The casts since the engine's start, oldest first, with their deliveries."""
        return self._read(
            lambda: tuple(
                cast_form(cast, self._cache.deliveries(cast.cast)) for cast in self._cache.casts.values()
            )
        )

    def cast(self, cast: str) -> CastForm:
        """One cast, by its id or the beginning of it. Raises CommandFailed."""

        def read() -> CastForm:
            summary = self._cache.find(cast)
            if summary is None:
                raise CommandFailed(CastRayError(FailureKind.CAST_UNKNOWN, cast=cast))
            return cast_form(summary, self._cache.deliveries(summary.cast))

        return self._read(read)

    def history(
        self,
        text: str = "",
        *,
        states: Iterable[str] = (),
        node: str = "",
        since: float = 0.0,
        until: float = 0.0,
        limit: int = 100,
    ) -> tuple[CastForm, ...]:
        """Casts that have ended, the latest first.

        `text` is a part of a name, a node, a source or a destination; times are POSIX seconds. Raises
        CommandFailed.
        """
        wanted = tuple(messages.CastState(state) for state in states)
        found: list[CastForm] = []
        while len(found) < limit:
            asked = min(PAGE, limit - len(found))
            query = messages.HistoryQuery(text, wanted, node, since, until, len(found), asked)
            page = self._request(messages.GetHistory(query), messages.HistoryPage)
            found += map(cast_form, page.casts)
            if len(page.casts) < asked:
                break
            until = until or page.casts[0].finished  # casts that end meanwhile would move the others
        return tuple(found)

    def files(
        self,
        cast: str | CastForm | ResultForm,
        text: str = "",
        *,
        states: Iterable[str] = (),
        nodes: Names = (),
    ) -> Iterator[FileForm]:
        """The files of a cast, and what became of each at each recipient; also while the cast is running.

        `text` are words in a path, in a new name or in a hash; `states` are "pending", "received", "sent",
        "identical", "renamed", "overwritten", "failed" and "unknown". Files are fetched from the engine as
        they are needed. Raises CommandFailed.

            for file in cluster.files(result, states=["renamed"]):
                print(file.path, [recipient.path for recipient in file.recipients])
        """
        name = cast if isinstance(cast, str) else cast.cast
        wanted = tuple(messages.FileState(state) for state in states)
        query = messages.FileQuery(text, wanted, _names(nodes), limit=PAGE)
        while True:
            page = self._request(messages.GetFiles(name, query), messages.FilesPage)
            yield from map(file_form, page.files)
            query = msgspec.structs.replace(query, offset=query.offset + len(page.files))
            if not page.files or query.offset >= page.total:
                return

    def statistics(self) -> messages.StatisticsReport:
        """All casts in numbers, since the engine's start and for ever. Raises CommandFailed."""
        return self._request(messages.GetStatistics(), messages.StatisticsReport)

    # --- sending --------------------------------------------------------------------------------

    def send(
        self,
        paths: Paths,
        to: Names = "all",
        *,
        progress: Progress = None,
        **options: Unpack[SendArguments],
    ) -> ResultForm:
        """Send files, folders, or addresses of web servers and stores, and wait for the end.

        Raises CommandFailed when it can't be started.

        The options are those of `SendArguments`: source, dest, on_conflict, links, exclude, include,
        limit, transport, encrypt, await_offline, remove_extra, layout and hook.

        Relative paths are those of the program's current folder. With `source` another node, paths are
        those of that node and must be absolute.

        `to` is "all", or names, addresses, Ray node ids or "@group"; `dest` is absolute and may hold
        "{node}", without it files land in each node's inbox. `limit` is bytes per second, or "10MB/s".
        `links` says what becomes of symbolic links: "keep" sends them as links, "follow" what they point to,
        "auto" what those point to that lead out of `paths`; `result.links` has the counts.
        `transport` "udp" sends one stream of multicast to all; `result.multicast` tells what came of it.
        `encrypt` is about the way from machine to machine: "auto" encrypts it wherever both can, unless the
        settings say otherwise; "always" sends nothing to those that can't; "never". Multicast can't be
        encrypted. `result.encrypted` tells what came of it.
        Deliveries that failed are in the result: `result.delivered` tells whether there is none. An
        interrupt (Ctrl+C) cancels the cast.

            result = cluster.send(["model.bin", "config/"], to=["node_1", "node_2"])
            for delivery in result.deliveries:
                print(delivery.node, delivery.state, delivery.paths, delivery.reason)
        """
        return self._wait_or_cancel(self.start(paths, to, **options), progress)

    def start(self, paths: Paths, to: Names = "all", **options: Unpack[SendArguments]) -> str:
        """As `send`, but return the cast's id at once. `wait` has the result."""
        for name in options.keys() - SendArguments.__annotations__.keys():
            raise TypeError(f"start() got an unexpected keyword argument {name!r}")
        values: dict[str, object] = {"dest": os.fspath(options.get("dest", ""))}
        for name, given in (("exclude", options.get("exclude", ())), ("include", options.get("include", ()))):
            values[name] = (given,) if isinstance(given, str) else tuple(given)
        source, links = options.get("source", ""), options.get("links", "auto")
        request = SendRequest(
            paths=(found := _call(lambda: _absolute(paths, links, not source or is_this_computer(source)))),
            recipients=_names(to),
            source=source or messages.default_source(found),
            leave_out=True,
            options=_call(lambda: options_from_json({**options, **values})),
        )
        return self._request(messages.Send(request), messages.Accepted).cast

    def wait(self, cast: str, *, progress: Progress = None) -> ResultForm:
        """Wait for the end of a cast, and return its result. Raises CommandFailed."""
        shown, cache = self._progress if progress is None else progress, self._cache
        updates: queue.SimpleQueue[bool] = queue.SimpleQueue()  # False: the cast has ended
        result = self._loop.start(self._result(cast, lambda: updates.put(True)))
        result.add_done_callback(lambda _: updates.put(False))
        try:
            with bars_for(shown) as bars:
                while updates.get():
                    while not updates.empty() and updates.get_nowait():
                        pass  # only the latest state is shown
                    summary, deliveries = self._read(lambda: (cache.find(cast), cache.deliveries(cast)))
                    if summary is not None:
                        bars.show(summary, deliveries)
                    if result.done():
                        break
            return result_form(_call(result.result))
        finally:
            result.cancel()

    def retry(self, cast: str, to: Names = (), *, progress: Progress = None) -> ResultForm:
        """Send what a cast sent to those recipients that did not get it, and wait. Raises CommandFailed.

        It is another attempt of the same cast, on the cluster where that ran.
        """
        command = messages.Retry(cast, _names(to))
        return self._wait_or_cancel(self._request(command, messages.Accepted).cast, progress)

    def again(self, cast: str, *, progress: Progress = None) -> ResultForm:
        """Send what a cast sent to all of its recipients again, and wait. Raises CommandFailed."""
        started = self._request(messages.SendAgain(cast), messages.Accepted).cast
        return self._wait_or_cancel(started, progress)

    # --- running and ended casts ------------------------------------------------------------------

    def pause(self, cast: str = "", nodes: Names = ()) -> None:
        """Pause a cast, all casts without one, or some recipients of a cast.

        Raises CommandFailed.
        """
        self._request(messages.Pause(cast, _names(nodes)), messages.Done)

    def resume(self, cast: str = "", nodes: Names = ()) -> None:
        """Resume a cast where it was, all casts without one, or some recipients of a cast.

        Raises CommandFailed.
        """
        self._request(messages.Resume(cast, _names(nodes)), messages.Done)

    def cancel(self, cast: str) -> None:
        """End a cast; returns once its part files are gone. Raises CommandFailed."""
        self._request(messages.Cancel(cast), messages.Done)

    def add(self, cast: str, to: Names) -> dict[str, str]:
        """Add recipients to a running cast; returns those that can't receive it, with the reason.

        Raises CommandFailed.
        """
        report = self._request(messages.AddRecipients(cast, _names(to)), messages.PreflightReport)
        return {problem.node: sentence(problem.failure) for problem in report.problems}

    def drop(self, cast: str, nodes: Names) -> None:
        """End a cast for some of its recipients. Raises CommandFailed."""
        self._request(messages.DropRecipients(cast, _names(nodes)), messages.Done)

    def limit(self, limit: int | str, cast: str = "") -> None:
        """Limit what every node passes on, over all casts or for one: bytes per second, "10MB/s" or "off"."""
        self._request(messages.SetLimit(_call(lambda: parse_limit(limit)), cast), messages.Done)

    # --- inside, in the caller's thread ---------------------------------------------------------

    def _run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return _call(lambda: self._loop.run(work))

    def _request(self, command: messages.Command, expect: type[ReplyType]) -> ReplyType:
        return self._run(self._request_in_loop(command, expect))

    def _read(self, read: Callable[[], Result]) -> Result:
        """Read the cache of the engine's state in the thread that writes to it."""

        async def in_loop() -> Result:
            return read()

        return self._run(in_loop())

    def _wait_or_cancel(self, cast: str, progress: Progress) -> ResultForm:
        try:
            return self.wait(cast, progress=progress)
        except KeyboardInterrupt:
            with contextlib.suppress(CommandFailed):
                self.cancel(cast)
            raise

    # --- inside, in the loop's thread -----------------------------------------------------------

    async def _open(self, target: str | None) -> contextlib.AsyncExitStack:
        async with contextlib.AsyncExitStack() as stack:
            session = await stack.enter_async_context(self._session)
            same = target == session.cache.cluster.address  # the cluster in use may have another name
            await session.ready(None if same else target)
            await stack.enter_async_context(session.reading_events())
            return stack.pop_all()

    async def _request_in_loop(self, command: messages.Command, expect: type[ReplyType]) -> ReplyType:
        if self._opened is None:
            raise RuntimeError(CLOSED)
        return await self._session.client.request(command, expect)

    async def _result(self, cast: str, changed: Callable[[], None]) -> messages.CastResult:
        """The result of a cast; `changed` is called for each change before."""

        def listen(event: messages.Event) -> None:
            match event:
                case messages.CastChanged(summary) if summary.cast.startswith(cast):
                    changed()
                case messages.DeliveriesChanged(other, _) if other.startswith(cast):
                    changed()

        self._listeners.add(listen)
        try:
            return await self._request_in_loop(messages.GetResult(cast), messages.CastResult)
        finally:
            self._listeners.remove(listen)

    def _on_event(self, event: messages.Event) -> None:
        for listener in tuple(self._listeners):
            listener(event)


def _call(work: Callable[[], Result]) -> Result:
    """Call `work` and raise CommandFailed for its CastRayError."""
    try:
        return work()
    except CastRayError as error:
        raise CommandFailed(error) from error


def _absolute(paths: Paths, links: str, local: bool) -> tuple[str, ...]:
    """Absolute paths, which must exist if they are `local`, and addresses. Raises CastRayError."""
    given = [os.fspath(path) for path in ([paths] if isinstance(paths, str | os.PathLike) else paths)]
    found = tuple(os.path.abspath(path) if local and not is_url(path) else path for path in given)
    if local:
        check_paths(filterfalse(is_url, found), links)
    return found


def _names(given: Names) -> tuple[str, ...]:
    """Names from a list, or from a text with commas between them."""
    several = given.split(",") if isinstance(given, str) else given
    return tuple(name.strip() for name in several if name.strip())
