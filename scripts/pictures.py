# ruff: noqa: E402  (the number of threads is set before numpy loads)
"""Make the pictures of README.md, in .github/images, from a real run.

mpirun -n 2 python scripts/pictures.py live --data datasets/mnist.h5 --run runs/pictures --recipe fast --epochs 4
distlenet report runs/pictures
python scripts/pictures.py report runs/pictures/report/report.html

The first trains, and keeps what the live display shows in the middle of the last epoch; the last needs Chromium.
"""

import io
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ["OPENBLAS_NUM_THREADS"] = "1"  # as the command line does, before numpy loads

from PIL import Image
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console

from distlenet.cli import main
from distlenet.training.events import Event, StepDone
from distlenet.ui import display, live

IMAGES = ROOT / ".github" / "images"
COLUMNS, ROWS = 92, 24
SCHEMES = {"light": 1, "dark": 0}  # as Chromium counts them


class Screen:
    """Keeps what the live display prints, and the lines below it, instead of drawing them."""

    def __init__(self) -> None:
        self.drawn: list[int] = []
        self.console = Console(width=COLUMNS, height=ROWS, record=True, file=io.StringIO(), force_terminal=True)

    def print(self, what: object, **settings: object) -> None:
        """Print ``what`` as the display does."""
        self.console.print(what, **settings)

    def start(self, keep: bool = True) -> None:
        """Do nothing: there is no terminal to draw on."""

    stop = draw = fit = start


class Recorder(live.LiveDisplay):
    """The live display, which becomes a picture in the middle of the last epoch."""

    def __init__(self, *_: object, **__: object) -> None:
        super().__init__(sys.stdout)
        self._bars = Screen()

    def on(self, event: Event) -> None:
        """See Listener."""
        super().on(event)
        progress, console = self._progress, self._bars.console
        last = isinstance(event, StepDone) and progress.epoch + 1 == progress.epochs
        if last and progress.step == round(0.6 * progress.steps_per_epoch):
            for line in self._frame(console):
                console.print(line)
            # the font that rich would fetch: every terminal font does
            form = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
            svg = console.export_svg(
                title="mpirun -n 2 distlenet train --recipe fast", code_format=form, unique_id="live"
            )
            (IMAGES / "live.svg").write_text(svg)


def photograph(page: Path, size: tuple[int, int] = (1180, 760)) -> None:
    """Take a picture of the top of ``page``, ``size`` pixels of CSS large, in light and in dark."""
    for scheme, number in SCHEMES.items():
        with tempfile.TemporaryDirectory() as folder:
            shot = Path(folder) / "shot.png"
            flags = ["--headless", "--no-sandbox", "--hide-scrollbars", f"--user-data-dir={folder}/profile"]
            flags += [f"--window-size={size[0]},{size[1]}", f"--blink-settings=preferredColorScheme={number}"]
            subprocess.run(["chromium", *flags, f"--screenshot={shot}", page.resolve().as_uri()], check=True)
            Image.open(shot).convert("RGB").save(IMAGES / f"report-{scheme}.webp", quality=80, method=6)


if __name__ == "__main__":
    IMAGES.mkdir(exist_ok=True)
    if sys.argv[1] == "report":
        photograph(Path(sys.argv[2]))
    else:
        display.make_display = Recorder
        sys.exit(main(["train", *sys.argv[2:]]))
