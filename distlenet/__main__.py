"""``python -m distlenet``."""

import sys

if not sys.flags.safe_path:  # the working directory comes last: a random.py there is not the standard library's
    sys.path.append(sys.path.pop(0))

from distlenet.cli import main

sys.exit(main())
