"""Tests of this folder import scenes.py from beside them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
