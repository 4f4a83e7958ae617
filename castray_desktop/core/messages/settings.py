"""What the engine is told once and keeps over restarts."""

from __future__ import annotations

from castray_desktop.core.messages.base import Message, Record

MOST_DEMO_NODES = 12


class EngineSettings(Record, frozen=True):
    """Settings that hold for every client of this user."""

    limit: int = 0  # bytes per second that every node may pass on over all casts; 0: none
    casts_at_once: int = 4  # more wait in the queue; 0: no bound
    go_on: bool = True  # after a restart unfinished casts go on; else they are there, paused
    history_days: int = 0  # casts that ended longer ago are forgotten; 0: never
    stay_awake: bool = True  # the engine's computer doesn't go to sleep while a cast runs
    demo_nodes: int = 3  # of the next local cluster that is started, beside this computer


class GetSettings(Message, frozen=True):
    """Reply: `SettingsChanged`."""


class ChangeSettings(Message, frozen=True):
    """Keep these from now on. Reply: `Done`; every client hears `SettingsChanged`."""

    settings: EngineSettings


class SettingsChanged(Message, frozen=True):
    """The settings, as a reply or whenever they have changed."""

    settings: EngineSettings


SettingsCommand = GetSettings | ChangeSettings
SettingsReply = SettingsChanged
SettingsEvent = SettingsChanged
