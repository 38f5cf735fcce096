"""The outline of a network as a table: layers, what they put out, and their parameters."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from distlenet.nn.inspection import Row
from distlenet.streams import clean


def outline_table(rows: Sequence[Row], input_shape: tuple[int, ...]) -> Table:
    """Return a table of ``rows`` (see nn/inspection.py) for a network of ``input_shape``, with its total."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", show_footer=True, footer_style="bold")
    table.add_column("layer", footer="total")
    table.add_column("kind")
    table.add_column("output", no_wrap=True)
    table.add_column("parameters", footer=f"{sum(row.parameters for row in rows):,}", justify="right", no_wrap=True)
    table.add_row("input", "", in_words(input_shape), "")
    for row in rows:
        table.add_row(Text(clean(row.name)), Text(clean(row.kind)), in_words(row.shape), f"{row.parameters:,}")
    return table


def in_words(shape: Sequence[int]) -> str:
    """Return the shape of one sample as "6 x 28 x 28"."""
    return " x ".join(map(str, shape))
