"""Nodes on one machine, for tests of clusters: each has its own network, name, processes, /tmp, /run and /dev/shm.

The first node carries the switch, a bridge with a cable (a veth pair) to each other node. The file system is shared
otherwise, like a cluster's. A node is a set of namespaces held by one process: killing it cuts the node's power.
All nodes end with the process that made them, even if it is killed. Needs root and iproute2.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import mpi_jobs

NETWORK = "10.88.0"
PORT = "eth0"
HOLDER = Path(__file__).with_name("holder.py")
NEW = ("--net", "--uts", "--mount", "--ipc", "--pid")
PATIENCE = 60.0  # seconds for a node to start; it takes a tenth of a second


def missing() -> str | None:
    """Return the reason why nodes cannot be made here, or None."""
    if os.geteuid() != 0:
        return "nodes on one machine need root"
    for program in ("ip", "unshare", "nsenter"):
        if shutil.which(program) is None:
            return f"nodes on one machine need `{program}`, which is not installed"
    tried = subprocess.run(["unshare", *NEW, "--fork", "--mount-proc", "true"], capture_output=True, check=False)
    return f"namespaces are not to be had here: {tried.stderr.decode().strip()}" if tried.returncode else None


class Nodes:
    """Nodes called ``names``, from ``with`` until its end; ``folder``, in which they are described, must exist.

    ``shared`` are folders below /tmp that all nodes see, ``binds`` files or folders laid over others, on all nodes.
    With a ``domain``, ".example", a node knows only itself by its short name. Another process may operate the nodes
    too: it makes the same object and does not enter it.
    """

    def __init__(
        self,
        folder: Path,
        names: Sequence[str],
        shared: Sequence[Path] = (),
        binds: Mapping[Path, Path] | None = None,
        domain: str = "",
    ) -> None:
        self.folder, self.names, self._domain = folder.resolve(), list(names), domain
        self._alive = self.folder / "alive"
        self._shared = [str(path.resolve()) for path in shared]
        self._binds = {str(over): str(what) for over, what in (binds or {}).items()}
        self._processes: dict[str, list[subprocess.Popen]] = {}  # the first one's parent, then those of daemons
        self._owned = -1

    def __enter__(self) -> "Nodes":
        os.mkfifo(self._alive)
        self._owned = os.open(self._alive, os.O_RDWR)  # for reading too: this way it need not wait for the first reader
        try:
            for name in self.names:
                self.boot(name)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for name in reversed(self.names):
            self.kill(name)
        os.close(self._owned)

    def address(self, name: str) -> str:
        """Return a node's address."""
        return f"{NETWORK}.{self.names.index(name) + 1}"

    def boot(self, name: str) -> None:
        """Switch a node on and plug its cable in."""
        ready = self.folder / f"{name}.ready"
        ready.unlink(missing_ok=True)
        hosts = self.folder / f"{name}.hosts"
        lines = ["127.0.0.1 localhost", *(f"{self.address(other)} {other}{self._domain}" for other in self.names)]
        hosts.write_text("\n".join([*lines, f"{self.address(name)} {name}"]) + "\n")
        facts = {"name": name, "alive": str(self._alive), "ready": str(ready), "shared": self._shared}
        words = json.dumps(facts | {"binds": {str(hosts): "/etc/hosts", **self._binds}})
        with (self.folder / f"{name}.log").open("ab") as log:
            started = subprocess.Popen(
                ["unshare", *NEW, "--fork", "--kill-child", "--mount-proc", sys.executable, "-IS", str(HOLDER), words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,
            )
        self._processes[name] = [started]
        until(ready.exists, f"node {name} did not start, see {log.name}", started)
        children = Path(f"/proc/{started.pid}/task/{started.pid}/children").read_text()
        self._pid_file(name).write_text(children.split()[0])
        self._wire(name)

    def _wire(self, name: str) -> None:
        ip(self.pid(name), "link set lo up")
        if name == self.names[0]:
            ip(self.pid(name), f"link add {PORT} type bridge")
        else:
            switch, socket = self.pid(self.names[0]), self._socket(name)
            with contextlib.suppress(RuntimeError):
                ip(switch, f"link delete {socket}")  # of the node before it was killed, if it is still there
            card = f"02:00:00:00:00:{self.names.index(name):02x}"  # the same after a boot, as neighbours remember it
            # made here and moved then: no node knows another's processes
            ip(switch, f"link add {socket} type veth peer name moved address {card}")
            ip(switch, f"link set moved netns {self.pid(name)}")
            ip(self.pid(name), f"link set moved name {PORT}")
            ip(switch, f"link set {socket} master {PORT} up")
        ip(self.pid(name), f"address add {self.address(name)}/24 dev {PORT}")
        ip(self.pid(name), f"link set {PORT} up")
        if name != self.names[0]:  # it comes up a moment later; an MPI that starts earlier would choose the loopback
            until(lambda: "state UP" in ip(self.pid(name), f"link show {PORT}"), f"{name}'s cable does not come up")

    def kill(self, name: str) -> None:
        """Cut a node's power: all its processes end at once."""
        with contextlib.suppress(ProcessLookupError, FileNotFoundError, ValueError):
            os.kill(self.pid(name), signal.SIGKILL)
        self._pid_file(name).unlink(missing_ok=True)
        for process in self._processes.pop(name, []):
            process.wait(PATIENCE)

    def unplug(self, name: str) -> None:
        """Pull a node's cable: nothing arrives any more, without any notice."""
        ip(self.pid(self.names[0]), f"link set {self._socket(name)} down")

    def plug(self, name: str) -> None:
        """Plug a node's cable in again."""
        ip(self.pid(self.names[0]), f"link set {self._socket(name)} up")

    def on(self, name: str, *command: object) -> list[str]:
        """Return the command line that runs ``command`` on a node, in the current directory."""
        return ["nsenter", "--target", str(self.pid(name)), *NEW, f"--wd={os.getcwd()}", *map(str, command)]

    def start(self, name: str, *command: object, log: str) -> subprocess.Popen:
        """Start a daemon on a node; its output goes into the file ``log`` of the folder."""
        with (self.folder / log).open("ab") as file:
            words = self.on(name, *command)
            daemon = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True)
        self._processes.setdefault(name, []).append(daemon)
        return daemon

    def pid(self, name: str) -> int:
        """Return the number of a node's first process; raises FileNotFoundError if it is off."""
        return int(self._pid_file(name).read_text())

    def processes(self, name: str) -> dict[int, list[str]]:
        """Return the number and the command line of each running process on a node, except its first one."""
        space, found = os.stat(f"/proc/{self.pid(name)}/ns/pid").st_ino, {}
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                words = (path / "cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
                if words and int(path.name) != self.pid(name) and os.stat(path / "ns/pid").st_ino == space:
                    found[int(path.name)] = words
        return found

    def _socket(self, name: str) -> str:
        return f"port{self.names.index(name)}"  # of the switch; such names have at most 15 letters

    def _pid_file(self, name: str) -> Path:
        return self.folder / f"{name}.pid"


def ip(pid: int, words: str) -> str:
    """Run iproute2's ``ip WORDS`` in the network of process ``pid``; return its output."""
    command = ["nsenter", f"--net=/proc/{pid}/ns/net", "ip", *words.split()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    if done.returncode:
        raise RuntimeError(f"ip {words}: {done.stderr.strip()}")
    return done.stdout


def until(condition: object, problem: str, process: subprocess.Popen | None = None, patience: float = PATIENCE) -> None:
    """Wait until ``condition()`` holds; RuntimeError ``problem`` if it takes too long or ``process`` ends."""
    end = time.monotonic() + patience
    while not condition():
        if time.monotonic() > end or (process is not None and process.poll() is not None):
            raise RuntimeError(problem)
        time.sleep(0.02)


def environment(**more: str) -> dict[str, str]:
    """Return the environment of a job on nodes that share the machine's few cores."""
    # each node believes that it has all cores for itself: binding would put ranks of all nodes on the first ones
    open_mpi = {"PRTE_MCA_hwloc_default_binding_policy": "none", "OMPI_MCA_mpi_yield_when_idle": "1"}
    return mpi_jobs.environment(**open_mpi, **more)
