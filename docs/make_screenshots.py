"""The pictures in docs/images: the window during a real cast, light, dark and Chinese, and an animation in
each language.

    python docs/make_screenshots.py

Starts a local cluster, sends a model of three gigabytes to its three nodes at a limited rate, so that there
is something to see, and takes the pictures on the way; twice, once for each animation. Nothing of it is left
afterwards. An animation must not have more than a million bytes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
SCREEN = f"offscreen:configfile={ROOT}/tests/screen.json"  # Qt's own offscreen screen has 800 x 800 pixels
MEGABYTE = 1_000_000
MODEL_MEGABYTES = 3_000
MAX_BYTES = MEGABYTE


def make_model(folder: Path) -> list[Path]:
    """A model as one finds it on the hubs: weights, a tokenizer, a folder of configurations."""
    weights, tokenizer, configs = (
        folder / name for name in ("model.safetensors", "tokenizer.json", "configs")
    )
    block = os.urandom(MEGABYTE)
    with weights.open("wb") as file:
        for number in range(MODEL_MEGABYTES):
            file.write(number.to_bytes(8, "big") + block[8:])
    tokenizer.write_bytes(os.urandom(2_100_000))
    configs.mkdir()
    for number in range(14):
        (configs / f"config-{number}.json").write_bytes(os.urandom(6_000))
    return [weights, tokenizer, configs]


def film(files: list[Path], home: str, user: str, animation: Path, *options: str) -> int:
    """Send the files in a window that is filmed. Returns the pilot's exit status."""
    pilot = [
        sys.executable,
        "-m",
        "tests.helpers.desktop.window_pilot",
        *map(str, files),
        "--limit",
        "118MB/s",
    ]
    variables = os.environ | {"CASTRAY_HOME": home, "HOME": user, "QT_QPA_PLATFORM": SCREEN}
    flight = subprocess.run(
        [*pilot, "--film", str(animation), *options],
        cwd=ROOT,
        env=variables,
        stdout=subprocess.PIPE,
        check=False,
    )
    # Else it would stay for five seconds, and then no longer find what it has to clear away.
    stop = [sys.executable, "-m", "castray_desktop", "engine", "stop"]
    subprocess.run(stop, cwd=ROOT, env=variables, check=False)
    seen = json.loads(flight.stdout.splitlines()[-1])
    size = animation.stat().st_size
    print(
        f"{animation.name}: {seen['state']} in {seen['seconds']:.1f} s, "
        f"{seen['source_copies']:.2f} copies, {size:,} bytes"
    )
    return flight.returncode or int(size > MAX_BYTES)


def main() -> int:
    """Make the pictures. Returns 0 if both casts were filmed and neither animation is too large."""
    memory = Path("/dev/shm")
    folder_on = memory if memory.is_dir() else Path(tempfile.gettempdir())
    status = 0
    for name, options in (("cast", ["--shots", str(IMAGES)]), ("cast-zh", ["--chinese"])):
        with tempfile.TemporaryDirectory() as home, tempfile.TemporaryDirectory(dir=folder_on) as folder:
            status |= film(make_model(Path(folder)), home, folder, IMAGES / f"{name}.webp", *options)
    return status


if __name__ == "__main__":
    sys.exit(main())
