"""A Python environment in which an extra of ours is not installed."""

from __future__ import annotations

import os
import subprocess
import sysconfig
import venv
from pathlib import Path

from castray_desktop.workers.base.installation import EXTRAS

ROOT = Path(__file__).resolve().parent.parent.parent


class SmallEnvironment:
    """An environment in `folder` that has what this one has, without the modules of some extras.

    The packages are links, so that it is made at once; the import of a missing one really fails.
    """

    def __init__(self, folder: Path, *without: str) -> None:
        venv.create(folder, with_pip=False, symlinks=True)
        self.python = folder / "bin" / "python"
        left_out = {module for extra in without for module in EXTRAS[extra]}
        (site,) = (folder / "lib").glob("python*/site-packages")
        for path in Path(sysconfig.get_path("purelib")).iterdir():
            if path.name not in left_out and path.suffix != ".pth":
                (site / path.name).symlink_to(path)
        (site / "castray_desktop.pth").write_text(f"{ROOT}\n")

    def run(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run Python with these words, outside of the repository."""
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        return subprocess.run(
            [self.python, "-P", *words],
            cwd=self.python.parent,
            env=kept | environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=50,
        )
