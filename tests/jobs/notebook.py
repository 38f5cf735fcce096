"""Run a notebook in a real kernel, as nbclient does: the cells are in the JSON file that is named; prints all outputs.

A cell that starts with "# interrupt" is interrupted, as by the stop button, as soon as what it shows is replaced.
"""

import asyncio
import json
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient


class Client(NotebookClient):
    """Presses the stop button, once."""

    interruption = None

    def process_message(self, msg, cell, cell_index):
        """Take a message of the kernel's."""
        marked = cell.source.startswith("# interrupt") and self.interruption is None
        if marked and msg["msg_type"] == "update_display_data":
            self.interruption = asyncio.ensure_future(self.km.interrupt_kernel())
        return super().process_message(msg, cell, cell_index)


cells = [nbformat.v4.new_code_cell(source) for source in json.loads(Path(sys.argv[1]).read_text())]
notebook = nbformat.v4.new_notebook(cells=cells)
Client(notebook, timeout=120, kernel_name="python3", allow_errors=True).execute()
print(json.dumps([cell.outputs for cell in notebook.cells]))
