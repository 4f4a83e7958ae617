"""Request bodies of the addresses from before v1, which differ from those of v1."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from castray_desktop.core.protocol import messages
from castray_desktop.workers.http_api.request_bodies import (
    AbsolutePath,
    Body,
    OptionsBody,
    PathOrUrl,
    Seconds,
    Text,
)


def _folded(value: object) -> object:
    """Words may be written in capitals."""
    return value.lower() if isinstance(value, str) else value


Mode = Annotated[Literal["unicast", "multicast", "broadcast", "udp"], BeforeValidator(_folded)]


class RecipientsAndOptions(OptionsBody):
    """Who gets the files, from where, and how."""

    recipients: list[Text] | Text = Field(
        default=[], description='Names, addresses or Ray node ids; "all" is every node but the sender.'
    )
    sender_id: Text | None = Field(
        default=None,
        description="The source's name; without it this computer, or for addresses the fastest node.",
    )

    def _recipients(self) -> tuple[str, ...]:
        named = self.recipients.split(",") if isinstance(self.recipients, str) else self.recipients
        return tuple(one.strip() for one in named if one.strip())


class Transfer(RecipientsAndOptions):
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
        request = self.send_request(self.paths(), self._recipients() or ("all",), self.sender_id)
        if self.transfer_mode == "udp":
            return request.with_options(transport=messages.TransportOption.UDP)
        return request


class FlatSchedule(RecipientsAndOptions):
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
            request=self.send_request(tuple(self.paths), self._recipients(), self.sender_id),
            cluster=self.cluster,
            every=self.every or 0.0,
            cron=self.cron or "",
            quiet=self.quiet or 0.0,
            enabled=self.enabled,
        )


class FirstNewNode(Body):
    """A node for the local cluster."""

    node_id: Text = Field(min_length=1, description="Its name.")
    inbox: AbsolutePath | None = Field(default=None, description="Absolute; without it ~/CastRay/NAME.")
    on: Text | None = None


class VerificationBody(Body):
    """What is to be read back: what a cast delivered, or one path on every node."""

    cast: Text | None = None
    path: AbsolutePath | None = Field(default=None, description="Absolute, may hold {node}.")
    nodes: list[Text] = Field(default=["all"])

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if bool(self.cast) == bool(self.path):
            raise ValueError("either cast or path has to be given")
        return self
