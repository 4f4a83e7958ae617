"""`castray casts`: list the casts of the running engine; `castray casts show` prints one, with its files."""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator, Sequence

import msgspec

from castray_desktop.cli.arguments import (
    EXIT_DELIVERED,
    Commands,
    add_cast_argument,
    add_command,
    split_names,
)
from castray_desktop.cli.output.cast_text import FILES_CHANGED, format_cluster, format_counts, format_state
from castray_desktop.cli.output.terminal import (
    format_moment,
    print_json,
    print_line,
    print_table,
)
from castray_desktop.cli.session import Session
from castray_desktop.core.casts.json_views import cast_form, file_form, form_to_json
from castray_desktop.core.casts.states import cast_name, have_files_changed
from castray_desktop.core.content.quantities import format_bytes
from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.core.failures.sentences import sentence
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import (
    CastFile,
    CastResult,
    CastSummary,
    DeliverySnapshot,
    FileQuery,
    FilesPage,
    FileState,
)

PAGE = 1000
"""Files that are requested from the engine at once."""


def add_parsers(commands: Commands) -> None:
    """Add `casts`."""
    parser = add_command(
        commands,
        "casts",
        "list the casts",
        "castray casts --json\ncastray casts show 3f2a --files",
        handler=list_casts,
        uses_cluster=True,
    )
    show_parser = add_command(
        parser.add_subparsers(dest="action", metavar="ACTION"),
        "show",
        "show a cast, running or ended, with its deliveries and its files",
        """
        castray casts show 3f2a
        castray casts show 3f2a --files --state renamed --state failed
        castray casts show 3f2a --files --json
        """,
        handler=show_cast,
    )
    add_cast_argument(show_parser)
    show_parser.add_argument(
        "--files", action="store_true", help="list its files, with the outcome on each recipient"
    )
    show_parser.add_argument(
        "--state",
        action="append",
        default=[],
        choices=[state.value for state in FileState],
        help="only files with this state on a recipient; can be repeated",
    )
    show_parser.add_argument(
        "--node", default="", metavar="NODE[,NODE...]", help="only the outcome on these recipients"
    )
    show_parser.add_argument(
        "--text", default="", metavar="TEXT", help="only files with these words in the path, new name or hash"
    )


async def list_casts(options: argparse.Namespace) -> int:
    """Print the casts of the running engine; none where no engine runs."""
    try:
        async with Session(start=False) as session:
            welcome = session.client.welcome
    except CastRayError as error:
        if error.failure.kind is not FailureKind.ENGINE_UNREACHABLE:
            raise
        welcome = None  # no engine, so no casts
    casts = welcome.casts if welcome else ()
    deliveries = welcome.deliveries if welcome else {}
    if options.json:
        print_json([form_to_json(cast_form(cast, deliveries.get(cast.cast, ()))) for cast in casts])
    else:
        print_casts(casts)
    return EXIT_DELIVERED


def print_casts(casts: Sequence[CastSummary]) -> None:
    """Print the casts as a table."""
    if not casts:
        print("No casts.")
        return
    rows = [
        (
            cast.cast,
            cast_name(cast),
            format_state(cast.state),
            format_bytes(cast.bytes),
            f"{100 * cast.done_bytes // cast.bytes} %" if cast.bytes else "",
            f"{cast.verified}/{len(cast.recipients)}",
        )
        for cast in casts
    ]
    print_table(("Cast", "Name", "State", "Size", "Done", "Recipients"), rows)


# --- one cast -------------------------------------------------------------------------------------


async def show_cast(options: argparse.Namespace) -> int:
    """Print a running or ended cast, with its files if they are asked for."""
    wants_files = options.files or options.state or options.node or options.text
    async with Session() as session:
        cast, deliveries = await _find(session, options.cast)
        files = None
        if wants_files:
            query = FileQuery(
                options.text,
                tuple(FileState(state) for state in options.state),
                split_names(options.node),
                limit=PAGE,
            )
            files = [file async for file in _pages(session, cast.cast, query)]
    if options.json:
        fields = form_to_json(cast_form(cast, deliveries))
        if files is not None:
            fields["file_list"] = [form_to_json(file_form(file)) for file in files]
        print_json(fields)
        return EXIT_DELIVERED
    print_cast(cast, deliveries)
    if files is not None:
        print_files(files)
    return EXIT_DELIVERED


async def _find(session: Session, cast: str) -> tuple[CastSummary, tuple[DeliverySnapshot, ...]]:
    """A cast that the engine lists, or one of the history. Raises CastRayError."""
    found = session.cache.find(cast)
    if found is not None:
        return found, session.cache.deliveries(found.cast)
    result = await session.client.request(messages.GetPastCast(cast), CastResult)
    return result.summary, result.deliveries


async def _pages(session: Session, cast: str, query: FileQuery) -> AsyncIterator[CastFile]:
    """All files that match."""
    while True:
        page = await session.client.request(messages.GetFiles(cast, query), FilesPage)
        for file in page.files:
            yield file
        query = msgspec.structs.replace(query, offset=query.offset + len(page.files))
        if not page.files or query.offset >= page.total:
            return


def print_cast(cast: CastSummary, deliveries: Sequence[DeliverySnapshot]) -> None:
    """Print what is known of a cast, and its deliveries as a table."""
    facts = [
        ("Cast", cast.cast),
        ("Name", cast_name(cast)),
        ("State", format_state(cast.state)),
        ("Reason", sentence(cast.failure) if cast.failure is not None else ""),
        ("Size", f"{format_bytes(cast.bytes)}, {cast.files:,} {'file' if cast.files == 1 else 'files'}"),
        ("Source", cast.source),
        ("Saved to", cast.options.destination or "the inbox of each node"),
        ("Cluster", format_cluster(cast.cluster)),
        ("Started", format_moment(cast.started)),
        ("Ended", format_moment(cast.finished)),
        ("Follows", cast.follows),
        *(
            (f"Attempt {number}", f"{format_moment(each.started)}, {format_state(each.state)}")
            for number, each in enumerate(cast.attempts, 1)
        ),
        ("Files", FILES_CHANGED if have_files_changed(cast) else ""),
    ]
    for name, value in facts:
        if value:
            print_line(f"{name + ':':<12}{value}")
    print()
    rows = [
        (
            item.node,
            format_state(item.state),
            format_bytes(item.bytes),
            format_counts(item.counts),
            sentence(item.failure) if item.failure is not None else ", ".join(item.paths),
        )
        for item in deliveries
    ]
    print_table(("Recipient", "State", "Received", "Files", "Path or reason"), rows)


def print_files(files: Sequence[CastFile]) -> None:
    """Print files as a table."""
    print()
    if not files:
        print("No files.")
        return
    rows = [
        (file.path, "link" if file.link else format_bytes(file.bytes), "; ".join(_outcomes(file)), file.hash)
        for file in files
    ]
    print_table(("File", "Size", "Outcome", "Hash"), rows)


def _outcomes(file: CastFile) -> list[str]:
    """For each group of recipients, what became of the file there."""
    texts = []
    for group in file.recipients:
        text = group.state.value
        if group.state is FileState.RENAMED:
            text = f"kept as {group.place}"
        elif group.place:
            text += f" as {group.place}"
        if group.failure is not None:
            text += f" ({sentence(group.failure)})"
        texts.append(text if len(file.recipients) == 1 else f"{', '.join(group.nodes)}: {text}")
    return texts
