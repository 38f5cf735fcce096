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
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests/page")]
os.environ["OPENBLAS_NUM_THREADS"] = "1"  # as the command line does, before numpy loads

import browser
from PIL import Image
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console

from distlenet.cli import main
from distlenet.training.events import Event, StepDone
from distlenet.ui import display, live

IMAGES = ROOT / ".github" / "images"
COLUMNS, ROWS = 92, 24


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


def photograph(page: Path, size: tuple[int, int] = (1180, 1010)) -> None:
    """Take a picture of the report ``page`` from its matrix on, ``size`` pixels of CSS large, in light and in dark."""
    with tempfile.TemporaryDirectory() as folder, browser.chromium(f"{folder}/profile") as driver:
        opened = browser.Page(driver, page.resolve().as_uri())
        opened.run("document.documentElement.style.scrollbarWidth = 'none'")
        for scheme in ("light", "dark"):
            opened.size(*size, scheme)
            opened.run("document.getElementById('confusion-matrix').scrollIntoView()")
            picture = Image.open(io.BytesIO(driver.get_screenshot_as_png()))
            picture.convert("RGB").save(IMAGES / f"report-{scheme}.webp", quality=70, method=6)


if __name__ == "__main__":
    IMAGES.mkdir(exist_ok=True)
    if sys.argv[1] == "report":
        photograph(Path(sys.argv[2]))
    else:
        display.make_display = Recorder
        sys.exit(main(["train", *sys.argv[2:]]))
