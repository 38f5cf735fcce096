"""``places.py JOBS OUTCOMES``: start runs that end like killed processes, each at a chosen call, and resume them.

JOBS is a JSON list of {"words": arguments, "place": number}; OUTCOMES gets a JSON line for each: exit code, output and
the calls that changed files. The place -1 kills nothing; 2 * n ends the process before the n-th such call, 2 * n + 1
after it. Each run is a fork of this process, which has already loaded all modules, so it starts at once.
"""

import json
import os
import sys
from pathlib import Path

import h5py  # noqa: F401
import numpy  # noqa: F401

from distlenet.cli import main
from distlenet.commands import train  # noqa: F401
from distlenet.ui import display  # noqa: F401

CALLS = ("replace", "fsync", "unlink", "mkdir", "rmdir", "link", "ftruncate", "rename", "write", "pwrite")
KILLED = 137
calls: list[str] = []
place = -1


def counted(name, function):
    def call(*arguments, **options):
        if (name == "open" and not arguments[1] & os.O_CREAT) or (name == "mkdir" and os.path.isdir(arguments[0])):
            return function(*arguments, **options)
        number = 2 * len(calls)
        calls.append(f"{name} {arguments[0]!s:.200}")
        if number == place:
            os._exit(KILLED)
        try:
            return function(*arguments, **options)
        finally:
            if number + 1 == place:
                os._exit(KILLED)

    return call


for each in (*CALLS, "open"):
    setattr(os, each, counted(each, getattr(os, each)))


def run(words, output):
    """Run the command line in a fork; return its exit code."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with open(output, "w", encoding="utf-8") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
        code = main(words)
    except BaseException as error:
        print(f"raised {error!r}", flush=True)
        code = 99
    sys.stdout.flush()
    Path(f"{output}.calls").write_text(json.dumps(calls), encoding="utf-8")
    os._exit(code)


if __name__ == "__main__":
    with open(sys.argv[2], "a", encoding="utf-8") as outcomes:
        for job in json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")):
            place, output = job["place"], Path(f"{sys.argv[2]}.output")
            code, made = run(job["words"], output), Path(f"{output}.calls")
            found = json.loads(made.read_text(encoding="utf-8")) if code != KILLED else []
            outcomes.write(json.dumps({"code": code, "output": output.read_text(), "calls": found}) + "\n")
            outcomes.flush()
