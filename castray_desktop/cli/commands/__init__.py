"""The commands. Each module adds the parsers of its commands and has their handlers beside them.

In: the parsed options. Out: printed text or JSON, and an exit status. To add a command, write a module with
a function `add_parsers(commands)` and list the command here; groups and order are those of `castray --help`.
To run a command only its module is imported, for help and completion all of them are: a handler imports its
heavy modules itself.
"""

from __future__ import annotations

_GROUPS = {
    "send files": {
        "send": "send_command",
        "retry": "control_commands",
        "again": "control_commands",
        "schedule": "schedule_commands",
    },
    "running casts": {
        "casts": "casts_command",
        "follow": "follow_commands",
        "wait": "follow_commands",
        "add": "control_commands",
        "drop": "control_commands",
        "pause": "control_commands",
        "resume": "control_commands",
        "cancel": "control_commands",
        "move": "control_commands",
        "limit": "limit_command",
    },
    "finished casts": {
        "history": "history_command",
        "stats": "history_command",
        "verify": "verify_command",
    },
    "nodes and clusters": {
        "nodes": "node_commands",
        "node": "node_commands",
        "group": "group_commands",
        "cluster": "cluster_commands",
        "doctor": "doctor_command",
    },
    "CastRay itself": {
        "engine": "engine_commands",
        "settings": "settings_command",
        "serve": "serve_command",
        "desktop": "desktop_commands",
        "completion": "completion_command",
        "help": "help_commands",
        "version": "help_commands",
    },
}

COMMAND_GROUPS = {title: tuple(commands) for title, commands in _GROUPS.items()}
"""The commands by the headings of `castray --help`."""

COMMANDS = {name: module for commands in _GROUPS.values() for name, module in commands.items()}
"""Each command and the module in this folder that defines it."""
