"""``python -m distlenet``."""

import sys

from distlenet.cli import main

sys.exit(main())
