"""The commands. Each module adds the parsers of its commands and has their handlers beside them.

In: the parsed options. Out: printed text or JSON, and an exit status. To add a command, write a module with
a function `add_parsers(commands)` and list the command here; the order is that of `castray --help`. To run
a command only its module is imported, for help and completion all of them are: a handler imports its heavy
modules itself.
"""

from __future__ import annotations

COMMANDS = {
    "send": "send_command",
    "nodes": "node_commands",
    "node": "node_commands",
    "casts": "casts_command",
    "add": "control_commands",
    "pause": "control_commands",
    "resume": "control_commands",
    "cancel": "control_commands",
    "retry": "control_commands",
    "again": "control_commands",
    "drop": "control_commands",
    "move": "control_commands",
    "limit": "limit_command",
    "verify": "verify_command",
    "history": "history_command",
    "stats": "history_command",
    "settings": "settings_command",
    "schedule": "schedule_commands",
    "cluster": "cluster_commands",
    "doctor": "doctor_command",
    "engine": "engine_commands",
    "serve": "serve_command",
    "completion": "completion_command",
    "desktop": "desktop_commands",
    "help": "help_commands",
    "version": "help_commands",
}
"""Each command and the module in this folder that defines it."""
