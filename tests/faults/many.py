"""``many.py COMMANDS OUTCOMES``: runs command lines one after another, even if some fail.

COMMANDS is a JSON list of lists of arguments; OUTCOMES gets one JSON line for each: code, output, exception.
"""

import contextlib
import io
import json
import sys
import traceback
from pathlib import Path

from distlenet.cli import main


def outcome(arguments):
    output, code, raised = io.StringIO(), None, None
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        try:
            code = main(arguments)
        except BaseException:
            raised = traceback.format_exc()
    return {"code": code, "output": output.getvalue(), "raised": raised}


with Path(sys.argv[2]).open("a") as file:
    for arguments in json.loads(Path(sys.argv[1]).read_text()):
        file.write(json.dumps(outcome(arguments)) + "\n")
        file.flush()
