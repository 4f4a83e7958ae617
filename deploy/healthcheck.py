"""The health check of the image: status 0 if the API answers and has its engine, or if this is a node of Ray.

A container that serves the API has its token; one that only joins a cluster (`ray start`) has none, and is
healthy while Ray's daemon runs.
"""

import json
import os
import sys
import urllib.request
from pathlib import Path

TOKEN = Path(os.environ.get("CASTRAY_HOME", "/data/home")) / "api-token"
ADDRESS = os.environ.get("CASTRAY_HEALTH_URL", "http://127.0.0.1:8001")


def api_state() -> str:
    """ "running" if the server reaches its engine. Raises OSError, ValueError."""
    request = urllib.request.Request(
        f"{ADDRESS}/api/status", headers={"Authorization": f"Bearer {TOKEN.read_text().strip()}"}
    )
    with urllib.request.urlopen(request, timeout=8) as answer:
        return str(json.load(answer)["state"])


def runs_ray() -> bool:
    """Whether a process of this container is Ray's daemon."""
    for process in Path("/proc").glob("[0-9]*/comm"):
        try:
            if process.read_text().strip() == "raylet":
                return True
        except OSError:  # it has ended
            continue
    return False


def main() -> int:
    if runs_ray() and not TOKEN.exists():
        return 0
    try:
        state = api_state()
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{state}\n")
    return 0 if state == "running" else 1


if __name__ == "__main__":
    sys.exit(main())
