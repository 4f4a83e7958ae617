"""The exit statuses that commands return. A failure has its own in `core.statuses`, also 3 for no cluster."""

from __future__ import annotations

EXIT_DELIVERED = 0
EXIT_NOT_DELIVERED = 1
EXIT_BAD_USAGE = 2
EXIT_INTERRUPTED = 130
