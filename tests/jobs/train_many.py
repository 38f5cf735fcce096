"""Several runs in one job: the first argument names a JSON file with a list of command lines.

Stops at the first that fails, with its exit code.
"""

import json
import sys
from pathlib import Path

from distlenet.cli import main

for arguments in json.loads(Path(sys.argv[1]).read_text()):
    code = main(arguments)
    if code:
        sys.exit(code)
