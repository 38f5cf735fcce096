"""Train from a checkout that is not installed: ``mpirun -n 2 python scripts/train.py --data FILE``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from distlenet.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
