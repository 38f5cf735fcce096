"""Two hosts on one machine: network namespaces joined by a cable (a veth pair), for tests of several hosts.

Each host has its own name, address, shared memory and disk; the file system is shared otherwise, like a cluster's.
All traffic stays inside the two namespaces. Needs root and iproute2. Also a program, to measure by hand:

    python tests/two_hosts.py openmpi|mpich RANKS_PER_HOST ARGUMENTS_OF_PYTHON...
    python tests/two_hosts.py openmpi 1 -m distlenet.bench.exchange
"""

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import mpi_jobs

PREFIX = "distlenet-test"
ADDRESSES = {"h1": "10.77.0.1", "h2": "10.77.0.2"}
NAMED = Path("/etc/netns")  # `ip netns exec` lays NAMED/NAMESPACE/hosts over /etc/hosts
LINK = "cable"
# what ssh would do: drop its options, take the host, run the rest there with a shell
REMOTE_SHELL = """#!/bin/sh
while [ "${{1#-}}" != "$1" ]; do shift; done
host=$1
shift
exec ip netns exec {prefix}-"$host" unshare --uts --mount --ipc sh -c '
    hostname "$1" && mount -t tmpfs shm /dev/shm && mount --bind {folder}/"$1" {folder}/disk || exit 255
    shift
    exec sh -c "$*"' {prefix} "$host" "$@"
"""

# a login on the other host has these variables; ssh passes no others on
SSH = """#!/bin/sh
exec env -i PATH="$PATH" HOME="$HOME" PYTHONPATH="$PYTHONPATH" {shell} "$@"
"""


def missing() -> str | None:
    """Return the reason why hosts cannot be created here, or None."""
    if os.geteuid() != 0:
        return "two hosts on one machine need root"
    for program in ("ip", "unshare", "mount", "hostname"):
        if shutil.which(program) is None:
            return f"two hosts on one machine need `{program}`, which is not installed"
    probe = subprocess.run(["unshare", "--net", "--uts", "--mount", "--ipc", "true"], capture_output=True, check=False)
    return f"namespaces are not to be had here: {probe.stderr.decode().strip()}" if probe.returncode else None


class TwoHosts:
    """The hosts h1 and h2, during the ``with`` block; nothing of them remains afterwards."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}-{os.getpid()}-", dir="/tmp"))
        self.prefix = self.folder.name  # unique: other tests may run on this machine
        self.disk = self.folder / "disk"  # each host sees its own disk here, see ``disk_of(host)``
        self.remote_shell = self.folder / "rsh"  # passes the environment on
        self.ssh = self.folder / "ssh"

    def __enter__(self) -> "TwoHosts":
        remove_leftovers()
        try:
            self._build()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _build(self) -> None:
        self.disk.mkdir()
        self.remote_shell.write_text(REMOTE_SHELL.format(prefix=self.prefix, folder=self.folder))
        self.ssh.write_text(SSH.format(shell=self.remote_shell))
        for program in (self.remote_shell, self.ssh):
            program.chmod(0o755)
        for host in ADDRESSES:
            self.disk_of(host).mkdir()
            names = NAMED / self.space(host) / "hosts"
            names.parent.mkdir(parents=True)
            lines = ["127.0.0.1 localhost", *(f"{address} {name}" for name, address in ADDRESSES.items())]
            names.write_text("\n".join(lines) + "\n")
            ip("netns", "add", self.space(host))
        one, two = map(self.space, ADDRESSES)
        ip("link", "add", "name", LINK, "netns", one, "type", "veth", "peer", "name", LINK, "netns", two)
        for host, address in ADDRESSES.items():
            ip("-n", self.space(host), "address", "add", f"{address}/24", "dev", LINK)
            ip("-n", self.space(host), "link", "set", "lo", "up")
            ip("-n", self.space(host), "link", "set", LINK, "up")
        for host in ADDRESSES:  # the link comes up a moment later; an MPI that starts earlier would choose the loopback
            self._wait_for_link(host)

    def _wait_for_link(self, host: str) -> None:
        patience = time.monotonic() + 5
        while "state UP" not in ip("-n", self.space(host), "link", "show", LINK):
            if time.monotonic() > patience:
                raise RuntimeError(f"the cable of {host} does not come up")
            time.sleep(0.01)

    def space(self, host: str) -> str:
        """Return the name of ``host``'s network namespace."""
        return f"{self.prefix}-{host}"

    def disk_of(self, host: str) -> Path:
        """Return the directory that ``host`` sees as ``disk``."""
        return self.folder / host

    def on(self, host: str, *command: str) -> list[str]:
        """Return the command line that runs ``command`` on ``host``."""
        return [str(self.remote_shell), host, shlex.join(command)]

    def mpirun(self, runtime: mpi_jobs.Runtime, each: int, *arguments: str) -> list[str]:
        """Return the command line of ``each`` ranks of ``python arguments`` per host, started on h1."""
        count = str(2 * each)
        if runtime.name == "openmpi":
            options = ["--prtemca", "plm_ssh_agent", str(self.remote_shell), "-n", count]
            options += ["--host", ",".join(f"{host}:{each}" for host in ADDRESSES)]
            # both hosts have the same cores, so binding would put the first ranks of both on the same core
            options += ["--bind-to", "none", "--mca", "pml", "ob1", "--mca", "btl", "self,sm,tcp"]
            options += ["--mca", "mpi_yield_when_idle", "1"]
        else:
            options = ["-launcher", "ssh", "-launcher-exec", str(self.remote_shell), "-n", count]
            options += ["-hosts", ",".join(ADDRESSES), "-ppn", str(each)]
        return self.on("h1", runtime.mpirun, *options, runtime.python, *arguments)

    def bytes_sent(self, host: str) -> int:
        """Return the number of bytes that ``host`` has sent over the cable so far."""
        counter = f"/sys/class/net/{LINK}/statistics/tx_bytes"
        return int(subprocess.check_output(self.on(host, "cat", counter), timeout=10))

    def cut(self) -> None:
        """Pull the cable: nothing arrives any more, without any notice."""
        ip("-n", self.space("h1"), "link", "set", LINK, "down")

    def reconnect(self) -> None:
        """Plug the cable in again."""
        ip("-n", self.space("h1"), "link", "set", LINK, "up")

    def processes(self, host: str) -> list[int]:
        """Return the numbers of all processes on ``host``."""
        return processes_in(self.space(host))

    def kill(self, host: str) -> None:
        """End every process on ``host``, like a power failure."""
        kill_in(self.space(host))

    def close(self) -> None:
        """Remove the hosts and end all processes on them."""
        remove(self.prefix)
        shutil.rmtree(self.folder, ignore_errors=True)


def ip(*arguments: str) -> str:
    """Run iproute2's ``ip``; return its output."""
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, timeout=10, check=False)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def spaces() -> list[str]:
    """Return the network namespaces of all tests on this machine."""
    return [words[0] for line in ip("netns").splitlines() if (words := line.split())[0].startswith(PREFIX)]


def processes_in(space: str) -> list[int]:
    """Return the numbers of all processes in a network namespace."""
    try:
        return [int(word) for word in ip("netns", "pids", space).split()]
    except RuntimeError:  # no such namespace, or no longer
        return []


def kill_in(space: str) -> None:
    """End every process in a network namespace."""
    patience = time.monotonic() + 5
    while (pids := processes_in(space)) and time.monotonic() < patience:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def remove(prefix: str) -> None:
    """Remove the namespaces whose names start with ``prefix`` and a dash, and everything belonging to them."""
    for space in spaces():
        if space.startswith(f"{prefix}-"):
            kill_in(space)
            with contextlib.suppress(RuntimeError):
                ip("netns", "delete", space)  # the cable goes with it
    for folder in NAMED.glob(f"{prefix}-*"):
        shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):
        NAMED.rmdir()  # if it is empty


def remove_leftovers() -> None:
    """Remove the hosts left by test runs that were killed."""
    found = {path.name for path in NAMED.glob(f"{PREFIX}-*")} | set(spaces())
    found |= {path.name for path in Path("/tmp").glob(f"{PREFIX}-*")}
    for name in found:
        words = name.removeprefix(f"{PREFIX}-").split("-")  # the test's process, random, host
        if words[0].isdecimal() and not Path("/proc", words[0]).exists():
            remove("-".join([PREFIX, *words[:2]]))
            shutil.rmtree(Path("/tmp", name), ignore_errors=True)


def main() -> int:
    """Run one job on two hosts."""
    if reason := missing():
        sys.exit(reason)
    runtime = mpi_jobs.find_runtime(sys.argv[1])
    if isinstance(runtime, str):
        sys.exit(runtime)
    with TwoHosts() as hosts:
        command = hosts.mpirun(runtime, int(sys.argv[2]), *sys.argv[3:])
        return subprocess.run(command, env=mpi_jobs.environment(), timeout=300, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
