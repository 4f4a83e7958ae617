"""Run everything that a stranger may try.

    python -m tests.strangers [--connections N] [PYTEST_ARGUMENT ...]

It takes some minutes, needs root for the tests in network namespaces, and 10,000 connections need as many
open files for each process. The ordinary run of the tests has the same with 1,000 connections.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import pytest

CONNECTIONS = "CASTRAY_STRANGERS"
"""The variable with the number of connections."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.strangers", description=__doc__.partition("\n")[0])
    parser.add_argument("--connections", type=int, default=10_000, help="to each socket (10,000)")
    given, more = parser.parse_known_args(arguments)
    os.environ[CONNECTIONS] = str(given.connections)
    return int(pytest.main([str(Path(__file__).parent), "-m", "", "-v", *more]))


if __name__ == "__main__":
    sys.exit(main())
