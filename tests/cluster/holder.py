"""The first process of a node, see ``nodes.py``: it makes the node's own disks, reaps orphans, and ends with its owner.

Started in new namespaces with one argument, JSON: ``name``, ``alive`` (a FIFO that the owner holds open), ``ready`` (a
file to make), ``shared`` (folders of the machine that stay visible) and ``binds`` (files and folders laid over others).
"""

import ctypes
import json
import os
import signal
import socket
import sys
from pathlib import Path

BIND = 4096 | 16384  # MS_BIND | MS_REC
OWN = ("/tmp", "/run", "/dev/shm")  # empty on each node
LIBC = ctypes.CDLL(None, use_errno=True)


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    """Call mount(2)."""
    if LIBC.mount(*map(str.encode, (source, target, kind)), flags, options.encode()):
        raise OSError(ctypes.get_errno(), f"mount {source} on {target}")


def reap(*_: object) -> None:
    """Collect the children that have ended: daemons leave theirs to the first process."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def hold(name: str, alive: str, ready: str, shared: list[str], binds: dict[str, str]) -> None:
    """Be the node ``name`` until nobody holds ``alive`` open for writing."""
    socket.sethostname(name)
    for source, target in binds.items():
        mount(source, target, flags=BIND)
    owner, made = os.open(alive, os.O_RDONLY), Path(ready)
    kept = {folder: os.open(folder, os.O_PATH) for folder in [*shared, str(made.parent)]}
    for folder in OWN:
        mount("own", folder, "tmpfs", options="mode=1777")
    for folder, descriptor in kept.items():
        if folder.startswith(OWN):
            os.makedirs(folder, exist_ok=True)
            mount(f"/proc/self/fd/{descriptor}", folder, flags=BIND)
        os.close(descriptor)
    signal.signal(signal.SIGCHLD, reap)
    made.touch()
    os.read(owner, 1)  # nothing ever comes; it returns when the owner has ended


hold(**json.loads(sys.argv[1]))
