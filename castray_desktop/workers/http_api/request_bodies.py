"""Request bodies of the API, validated before the engine gets them."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, WithJsonSchema
from starlette.requests import HTTPConnection

from castray_desktop.core.casts.json_views import options_from_json
from castray_desktop.core.content.quantities import parse_limit
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import (
    MOST_CASTS_AT_ONCE,
    MOST_DEMO_NODES,
    MOST_HISTORY_DAYS,
    Schedule,
)
from castray_desktop.core.protocol.messages.cast_messages import default_source


def _whole(value: object) -> object:
    """In JSON, 5.0 is an integer as well."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Text = Annotated[str, Field(max_length=4096)]
NodeName = Annotated[str, Field(min_length=1, max_length=256)]
AbsolutePath = Annotated[str, Field(max_length=4096, pattern="^/")]
PathOrUrl = Annotated[str, Field(min_length=1, max_length=8192)]
Rate = Annotated[
    Text,
    WithJsonSchema(
        {
            "type": "string",
            "pattern": r"^(off|[1-9][0-9]{0,5}(\.[0-9]{1,3})? ?([kKMG](i?B)?|[MG]i?bit)(/s)?)$",
        }
    ),
]
"""A rate as a text. A pattern can't say that it is at least one kilobyte a second, so the schema describes
the usual forms; `parse_limit` takes a few more.
"""
Count = Annotated[int, Field(ge=0, le=2**53), BeforeValidator(_whole)]  # exact in any JSON
Seconds = Annotated[float, Field(ge=0, le=1e9)]


async def reject_unknown_parameters(asked: HTTPConnection) -> None:
    """A query parameter that is not known would do nothing, so it is a mistake.

    Raises RequestValidationError.
    """
    dependant = getattr(asked.scope.get("route"), "dependant", None)
    if dependant is None or asked.scope["type"] != "http":
        return
    known = {parameter.alias for parameter in dependant.query_params}
    strange = [name for name in asked.query_params if name not in known]
    if strange:
        raise RequestValidationError(
            [{"type": "extra_forbidden", "loc": ("query", name)} for name in strange]
        )


class Body(BaseModel):
    """Base of all bodies: what is not known is refused, and no text is taken for a number."""

    model_config = ConfigDict(extra="forbid", strict=True)


class OptionsBody(Body):
    """How files are sent."""

    dest: AbsolutePath | None = Field(
        default=None, description="Absolute, may hold {node}; without it the inboxes."
    )
    on_conflict: Literal["skip", "rename", "overwrite"] = "skip"
    links: Literal["auto", "keep", "follow"] = Field(
        default="auto",
        description="What becomes of symbolic links: sent as links, or what they point to. auto: what those"
        " point to that are named themselves or lead out of what is sent, and the others as links.",
    )
    exclude: list[Text] = Field(default=[], description="Patterns of what is left out.")
    include: list[Text] = Field(default=[], description="Patterns of the files that alone are sent.")
    limit: Rate | Count | None = Field(default=None, description='Bytes per second, or a text as "10MB/s".')
    transport: Literal["auto", "direct", "ray", "udp"] = Field(
        default="auto", description="udp: one stream of multicast for all, and the relay for the rest."
    )
    encrypt: Literal["auto", "always", "never"] = Field(
        default="auto",
        description="Encryption between machines. auto: wherever both can, unless the settings say otherwise;"
        " always: nothing is sent to those that can't. Not with udp, which can't be encrypted.",
    )
    await_offline: bool = False
    layout: Literal["plain", "hf-cache"] = Field(
        default="plain",
        description="For hf:// addresses. plain: a folder with the files of the repository; hf-cache: the"
        " cache of huggingface_hub, so that dest is its cache_dir.",
    )
    remove_extra: bool = Field(
        default=False,
        description="With overwrite: remove at the recipients what a sent folder no longer has.",
    )
    hook: Text | None = Field(default=None, description="A command for each recipient that allows it.")

    def send_request(
        self, paths: tuple[str, ...], recipients: tuple[str, ...], source: str | None
    ) -> messages.SendRequest:
        """Raises CastRayError for an invalid limit."""
        return messages.SendRequest(
            paths=paths,
            recipients=recipients,
            source=source or default_source(paths),
            leave_out=True,
            options=options_from_json(self.model_dump()),
        )


class NewCast(OptionsBody):
    """Files to send, to whom, and how."""

    paths: list[PathOrUrl] = Field(
        min_length=1, description="Absolute paths on the source, or addresses on web servers and in stores."
    )
    recipients: list[NodeName] = Field(
        min_length=1,
        description='Names, addresses, Ray node ids or @groups; "all" is every node but the source.',
    )
    source: NodeName | None = Field(
        default=None,
        description="The node that has the files. Without it: this computer, or for addresses alone the"
        " node with the fastest way there.",
    )

    def request(self) -> messages.SendRequest:
        """Raises CastRayError."""
        return self.send_request(tuple(self.paths), tuple(self.recipients), self.source)


class _NewSchedule(NewCast):
    name: Text = Field(min_length=1)
    cluster: Text = Field(default="", description="As for --cluster. Empty: the one in use.")
    enabled: bool = True

    def schedule(self, schedule: str = "") -> Schedule:
        """Raises CastRayError."""
        return Schedule(
            schedule=schedule,
            name=self.name,
            request=self.request(),
            cluster=self.cluster,
            enabled=self.enabled,
            **self.model_dump(include={"every", "cron", "quiet"}),
        )


class ScheduleAtInterval(_NewSchedule):
    """Files to send at an interval."""

    every: float = Field(gt=0, le=1e9, description="Seconds from start to start.")


class ScheduleByCron(_NewSchedule):
    """Files to send at the times of a cron expression."""

    cron: Text = Field(min_length=1, description="Five fields, in local time.")


class ScheduleOnChange(_NewSchedule):
    """Files to send when they have changed."""

    quiet: float = Field(gt=0, le=1e9, description="Seconds without a change before they are sent.")


def _kind_of_schedule(value: object) -> str | None:
    """Which of the fields that say when is given, if it is one of them."""
    known = value if isinstance(value, dict) else {}
    given = [name for name in ("every", "cron", "quiet") if name in known]
    return given[0] if len(given) == 1 else None


NewSchedule = Annotated[
    Annotated[ScheduleAtInterval, Tag("every")]
    | Annotated[ScheduleByCron, Tag("cron")]
    | Annotated[ScheduleOnChange, Tag("quiet")],
    Discriminator(
        _kind_of_schedule,
        custom_error_type="when",
        custom_error_message="one of every, cron and quiet has to be given",
    ),
]


class Switch(Body):
    """On or off."""

    enabled: bool


class NewNode(Body):
    """A node for the local cluster."""

    name: Annotated[Text, WithJsonSchema({"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,59}$"})]
    inbox: AbsolutePath | None = Field(default=None, description="Absolute; without it ~/CastRay/NAME.")
    on: NodeName | None = Field(default=None, description="The machine's node; without it this computer.")


class Recipients(Body):
    """Nodes, as in a transfer."""

    recipients: list[Text] = Field(min_length=1)


class SomeRecipients(Body):
    """Nodes of those that did not get it; none means all of them."""

    recipients: list[Text] = []


class Limit(Body):
    """A limit for every hop."""

    limit: Rate | Count = Field(description='Bytes per second, or a text as "10MB/s"; 0 or "off": none.')

    def rate(self) -> int:
        """Bytes per second. Raises CastRayError."""
        return parse_limit(self.limit)


def _at_most(most: int) -> WithJsonSchema:
    """A number that the engine refuses above `most`."""
    return WithJsonSchema({"type": "integer", "minimum": 0, "maximum": most})


class Settings(Body):
    """The engine's settings; what is left out stays as it is."""

    limit: Count | None = Field(default=None, description="Bytes per second; 0: none.")
    casts_at_once: Annotated[Count, _at_most(MOST_CASTS_AT_ONCE)] | None = None
    go_on: bool | None = None
    history_days: Annotated[Count, _at_most(MOST_HISTORY_DAYS)] | None = None
    stay_awake: bool | None = None
    demo_nodes: Annotated[Count, _at_most(MOST_DEMO_NODES)] | None = None
    encrypt: Literal["auto", "always", "never"] | None = None

    def change(self, settings: messages.EngineSettings) -> messages.EngineSettings:
        changes = self.model_dump(exclude_none=True)
        if self.encrypt is not None:
            changes["encrypt"] = messages.Encryption(self.encrypt)
        return msgspec.structs.replace(settings, **changes)


class VerificationOfCast(Body):
    """Where the files that a cast delivered are read back."""

    nodes: list[NodeName] = Field(default=["all"], min_length=1)


class VerificationOfPath(VerificationOfCast):
    """A path that is read back on every node."""

    path: AbsolutePath = Field(description="Absolute, may hold {node}.")
