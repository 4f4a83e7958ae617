"""Request bodies of the API, validated before the engine gets them."""

from __future__ import annotations

from typing import Annotated, Literal, Self

import msgspec
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from starlette.requests import HTTPConnection

from castray_desktop.core.casts.json_views import options_from_json
from castray_desktop.core.content.quantities import parse_limit
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages.cast_messages import default_source


def _folded(value: object) -> object:
    """Words may be written in capitals."""
    return value.lower() if isinstance(value, str) else value


Text = Annotated[str, Field(max_length=4096)]
AbsolutePath = Annotated[str, Field(max_length=4096, pattern="^/")]
PathOrUrl = Annotated[str, Field(max_length=8192, pattern="^(/|https?://[^/])")]
Mode = Annotated[Literal["unicast", "multicast", "broadcast", "udp"], BeforeValidator(_folded)]
Count = Annotated[int, Field(ge=0, le=2**62)]
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


class TransferOptionsBody(Body):
    """How files are sent."""

    recipients: list[Text] | Text = Field(
        default=[], description='Names, addresses or Ray node ids; "all" is every node but the sender.'
    )
    sender_id: Text | None = Field(
        default=None,
        description="The source's name; without it this computer, or for addresses the first recipient.",
    )
    dest: AbsolutePath | None = Field(
        default=None, description="Absolute, may hold {node}; without it the inboxes."
    )
    on_conflict: Literal["skip", "rename", "overwrite"] = "skip"
    links: Literal["auto", "keep", "follow"] = Field(
        default="auto",
        description="What becomes of symbolic links: sent as links, or what they point to. auto: what those"
        " point to that are named themselves or lead out of what is sent, and the others as links.",
    )
    exclude: list[Text] = []
    limit: Text | Count | None = Field(default=None, description='Bytes per second, or a text as "10MB/s".')
    transport: Literal["auto", "direct", "ray", "udp"] = Field(
        default="auto", description="udp: one stream of multicast for all, and the relay for the rest."
    )
    encrypt: Literal["auto", "always", "never"] = Field(
        default="auto",
        description="Encryption between machines. auto: wherever both can, unless the settings say otherwise;"
        " always: nothing is sent to those that can't. Not with udp, which can't be encrypted.",
    )
    await_offline: bool = False
    remove_extra: bool = Field(
        default=False,
        description="With overwrite: remove at the recipients what a sent folder no longer has.",
    )
    hook: Text | None = Field(default=None, description="A command for each recipient that allows it.")

    def _request(self, paths: tuple[str, ...], recipients: tuple[str, ...]) -> messages.SendRequest:
        """Raises CastRayError for a limit that is none."""
        return messages.SendRequest(
            paths=paths,
            recipients=recipients,
            source=self.sender_id or default_source(paths),
            leave_out=True,
            options=options_from_json(self.model_dump()),
        )

    def _recipients(self) -> tuple[str, ...]:
        named = self.recipients.split(",") if isinstance(self.recipients, str) else self.recipients
        return tuple(one.strip() for one in named if one.strip())


class Transfer(TransferOptionsBody):
    """Files to send."""

    file_path: PathOrUrl | None = Field(
        default=None, description="Absolute, on the sender; or the address of a file on a web server."
    )
    file_paths: list[PathOrUrl] | None = Field(default=None, description="Several of these.")
    transfer_mode: Mode | None = Field(
        default=None,
        description="Follows from the recipients; where it is given it has to fit them. UDP means the"
        " transport udp.",
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not self.paths():
            raise ValueError("file_path or file_paths has to name something to send")
        mode, recipients = self.transfer_mode, self._recipients()
        if mode == "udp" and self.transport not in ("auto", "udp"):
            raise ValueError(f"transfer_mode UDP and transport {self.transport} are two ways: name one")
        if not recipients and mode != "broadcast":
            raise ValueError('recipients has to name somebody, or "all"')
        if mode == "unicast" and (len(recipients) != 1 or recipients == ("all",)):
            raise ValueError("unicast is to one recipient")
        if mode == "broadcast" and recipients not in ((), ("all",)):
            raise ValueError('broadcast is to all: leave recipients out, or name "all"')
        return self

    def paths(self) -> tuple[str, ...]:
        one = () if self.file_path is None else (self.file_path,)
        return (*one, *(self.file_paths or ()))

    def request(self) -> messages.SendRequest:
        """Raises CastRayError."""
        request = self._request(self.paths(), self._recipients() or ("all",))
        if self.transfer_mode == "udp":
            return request.with_options(transport=messages.TransportOption.UDP)
        return request


class NewSchedule(TransferOptionsBody):
    """Files to send again and again: at an interval, by cron expression, or when they have changed."""

    name: Text = Field(min_length=1)
    paths: list[PathOrUrl] = Field(min_length=1, description="Absolute, on the sender; or addresses.")
    cluster: Text = Field(default="", description="As for --cluster; left out: the one in use.")
    every: Seconds | None = Field(default=None, description="Seconds from start to start.")
    cron: Text | None = Field(default=None, description="Five fields, in local time.")
    quiet: Seconds | None = Field(default=None, description="Seconds without a change before it is sent.")
    enabled: bool = True

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if sum(bool(when) for when in (self.every, self.cron, self.quiet)) != 1:
            raise ValueError("one of every, cron and quiet has to be given")
        if not self._recipients():
            raise ValueError('recipients has to name somebody, or "all"')
        return self

    def schedule(self, schedule: str = "") -> messages.Schedule:
        """Raises CastRayError."""
        return messages.Schedule(
            schedule=schedule,
            name=self.name,
            request=self._request(tuple(self.paths), self._recipients()),
            cluster=self.cluster,
            every=self.every or 0.0,
            cron=self.cron or "",
            quiet=self.quiet or 0.0,
            enabled=self.enabled,
        )


class Switch(Body):
    """On or off."""

    enabled: bool


class NewNode(Body):
    """A node for the local cluster."""

    node_id: Text = Field(min_length=1, description="Its name.")
    inbox: AbsolutePath | None = Field(default=None, description="Absolute; without it ~/CastRay/NAME.")
    on: Text | None = None


class Recipients(Body):
    """Nodes, as in a transfer."""

    recipients: list[Text] = Field(min_length=1)


class SomeRecipients(Body):
    """Nodes of those that did not get it; none means all of them."""

    recipients: list[Text] = []


class Limit(Body):
    """A limit for every hop."""

    limit: Text | Count = Field(description='Bytes per second, or a text as "10MB/s"; 0 or "off": none.')

    def rate(self) -> int:
        """Bytes per second. Raises CastRayError."""
        return parse_limit(self.limit) if isinstance(self.limit, str) else self.limit


class Settings(Body):
    """The engine's settings; what is left out stays as it is."""

    limit: Count | None = None
    casts_at_once: Count | None = None
    go_on: bool | None = None
    history_days: Count | None = None
    stay_awake: bool | None = None
    demo_nodes: Count | None = None
    encrypt: Literal["auto", "always", "never"] | None = None

    def change(self, settings: messages.EngineSettings) -> messages.EngineSettings:
        changes = self.model_dump(exclude_none=True)
        if self.encrypt is not None:
            changes["encrypt"] = messages.Encryption(self.encrypt)
        return msgspec.structs.replace(settings, **changes)


class VerificationBody(Body):
    """What is to be read back: what a cast delivered, or one path on every node."""

    cast: Text | None = None
    path: AbsolutePath | None = Field(default=None, description="Absolute, may hold {node}.")
    nodes: list[Text] = ["all"]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if bool(self.cast) == bool(self.path):
            raise ValueError("either cast or path has to be given")
        return self
