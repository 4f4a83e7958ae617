"""How much is tested: samples by default, all of it with `CASTRAY_TEST_ALL=1`."""

from __future__ import annotations

import os

TEST_ALL = os.environ.get("CASTRAY_TEST_ALL") == "1"
