"""What became of each file, in the end: the source's word, and what was hashed here."""

from __future__ import annotations

from collections.abc import Sequence

from castray_desktop.core.failure import Failure, FailureKind
from castray_desktop.core.names import display
from castray_desktop.core.parcel import FileResult, FileStatus, Manifest
from castray_desktop.workers.ray_side.byte_plane.failures import file_failure
from castray_desktop.workers.ray_side.protocol import FileProblem

STILL_SERVED = (
    FailureKind.FILES_FAILED,
    FailureKind.NO_FILE_DELIVERED,
    FailureKind.CHANGED,
    FailureKind.VANISHED,
    FailureKind.READ_ERROR,
    FailureKind.NOT_READABLE,
    FailureKind.NOT_REMOVED,
)
"""A delivery that fails for one of these has good files too, for itself and for those below."""


def compared(results: Sequence[FileResult], mine: Sequence[bytes]) -> list[FileResult]:
    """The source's results, with CHANGED where the hash here is another one; an empty one was not made."""
    return [
        # every piece was right: the file has changed at the source after its hash was made
        FileResult(FileStatus.CHANGED, b"")
        if result.status is FileStatus.OK and hash_ and result.hash != hash_
        else result
        for result, hash_ in zip(results, mine)
    ]


def file_problems(manifest: Manifest, results: Sequence[FileResult]) -> tuple[FileProblem, ...]:
    """The files that can't land, and why."""
    return tuple(
        FileProblem(display(entry.path), file_failure(result.status, entry.path))
        for entry, result in zip(manifest.files, results)
        if result.status is not FileStatus.OK
    )


def failure_of(manifest: Manifest, problems: Sequence[FileProblem]) -> Failure:
    """What the delivery fails with because of them."""
    if len(manifest.entries) == 1:
        return problems[0].failure
    everything = len(problems) == len(manifest.files)
    return Failure(
        FailureKind.NO_FILE_DELIVERED if everything else FailureKind.FILES_FAILED,
        {
            "count": str(len(problems)),
            "total": str(len(manifest.files)),
            **problems[0].failure.values,
            "path": problems[0].path,
            "because": problems[0].failure.kind.value,
        },
    )
