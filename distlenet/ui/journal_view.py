"""The table of a journal for the terminal."""

from collections.abc import Sequence

from rich.table import Table


def journal_table(names: Sequence[str], rows: Sequence[Sequence[float | None]]) -> Table:
    """Return a table with a column for each of ``names`` under which ``rows`` have a figure."""
    kept = [place for place in range(len(names)) if any(row[place] is not None for row in rows)]
    table = Table(box=None, padding=(0, 1), header_style="dim")
    for place in kept:
        head = names[place].replace("validation", "valid").replace("_", " ")
        table.add_column(head, justify="right", vertical="bottom")
    for row in rows:
        table.add_row(*(_text(row[place]) for place in kept))
    return table


def _text(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else f"{value}"
