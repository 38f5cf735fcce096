"""The report as it grows: sections for the page, and figures that also become files."""

from typing import TYPE_CHECKING

from distlenet.report.figure import as_png
from distlenet.report.page import Section

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CSS_PIXELS = 100  # for each inch of a figure


class Book:
    """``sections`` in order; ``files``: name -> PNG."""

    def __init__(self) -> None:
        self.sections: list[Section] = []
        self.files: dict[str, bytes] = {}

    def section(self, title: str) -> Section:
        """Begin a section."""
        self.sections.append(Section(title))
        return self.sections[-1]

    def figure(self, section: Section, name: str, figure: "Figure | None", caption: str) -> None:
        """Add ``figure`` to ``section`` and to the files; None: there is nothing to show, and that is said."""
        self.figures(section, {name: figure} if figure else {}, caption)

    def figures(self, section: Section, figures: "dict[str, Figure]", caption: str) -> None:
        """Add ``figures``, by the names of their files, side by side."""
        if not figures:
            if not section.pieces:
                section.text("There is nothing to show yet.")
            return
        pictures = []
        for name, figure in figures.items():
            png = as_png(figure)
            file = "".join(c if c.isalnum() or c in "-_" else "-" for c in name)
            self.files[f"{file}.png"] = png
            pictures.append((png, round(CSS_PIXELS * figure.get_figwidth())))
        section.figure(pictures, caption)
