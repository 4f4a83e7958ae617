"""The exit statuses that scripts rely on."""

from __future__ import annotations

EXIT_DELIVERED = 0
EXIT_NOT_DELIVERED = 1
EXIT_BAD_USAGE = 2
EXIT_NO_CLUSTER = 3
EXIT_INTERRUPTED = 130
