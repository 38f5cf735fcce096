"""What ``distlenet doctor`` prints: facts, a row a rank, advice; or one JSON object."""

import json
from collections.abc import Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from distlenet.doctor.rank import ranges
from distlenet.streams import clean
from distlenet.ui.console import make_console


def show(report: Mapping[str, Any], as_json: bool) -> None:
    """Print ``report`` of commands/doctor.py."""
    if as_json:
        print(json.dumps(report))
        return
    console = make_console()
    console.print(facts_table(report))
    console.print()
    console.print(ranks_table(report))
    console.print()
    advice = report["advice"] or ["nothing to mend"]
    for sentence in advice:
        console.print(Text(f"* {clean(sentence)}" if report["advice"] else sentence))


def facts_table(report: Mapping[str, Any]) -> Table:
    """Return what holds for the whole job."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    library, mpirun, locking = report["mpi"], report["mpirun"], report["locking"]
    belongs = {True: "belongs to it", False: "does NOT belong to it", None: "unknown whether it belongs to it"}
    tolerant = report["fault_tolerance"]
    rows = {
        "MPI library": library.get("error")
        or f"{library['name']} {library['version']} (MPI {library['standard']}), {library['path']}",
        "launcher": report["launcher"] or "none: one process, MPI is not loaded",
        "mpirun on PATH": f"{mpirun['on_path']}: {mpirun['name']} {mpirun['version']}, "
        f"{belongs[report['mpirun_belongs']]}"
        if mpirun["on_path"]
        else f"none (there is {mpirun['to_use']})"
        if mpirun["to_use"]
        else "none",
        "fault tolerance": f"{'yes' if tolerant['on'] else 'no'}: {tolerant['why']}",
        "file locks": f"flock {locking['flock']}, HDF5's {locking['hdf5']}, in {locking['folder']}",
        "terminal": f"{report['terminal']['mode']}: {report['terminal']['why']}",
        "versions": ", ".join(f"{name} {number}" for name, number in report["ranks"][0]["versions"].items()),
    }
    for name, text in rows.items():
        table.add_row(name, Text(clean(text)))
    return table


def ranks_table(report: Mapping[str, Any]) -> Table:
    """Return a row for each rank."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("rank", justify="right")
    for name in ("host", "may run on", "BLAS", "kernel"):
        table.add_column(name, overflow="fold")
    table.add_column("threads", justify="right")
    for rank, row in enumerate(report["ranks"]):
        cores, total = row["cores"], row["cores_of_host"]
        cores = f"cores {ranges(cores)} of {total}" if len(cores) < total else f"all {total} cores"
        cells = [row["host"], cores, row["blas"], row["kernel"], row["threads"] or "?"]
        table.add_row(str(rank), *(Text(clean(cell)) for cell in cells))
    return table
