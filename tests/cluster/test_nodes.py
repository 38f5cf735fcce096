"""The nodes of tests: their network, power, cables and disks, and that nothing of them remains."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cluster import nodes

REACHES = ["python3", "-c", "import socket, sys; socket.create_connection((sys.argv[1], 7), 1)"]
LISTENS = "import socket; s = socket.create_server(('', 7))\nwhile True: s.accept()"


@pytest.fixture(autouse=True)
def needs_nodes():
    if reason := nodes.missing():
        pytest.skip(reason)


def reaches(three, source, target):
    return (
        subprocess.run(three.on(source, *REACHES, target), capture_output=True, timeout=10, check=False).returncode == 0
    )


def listen(three, name):
    server = three.start(name, "python3", "-c", LISTENS, log="server.log")
    nodes.until(lambda: reaches(three, "n1", name), f"n1 does not reach {name}", server)
    return server


def test_three_nodes(tmp_path):
    with nodes.Nodes(tmp_path, ["n0", "n1", "n2"], shared=[tmp_path]) as three:
        look = three.on("n1", "sh", "-c", f"hostname; echo /run/* /dev/shm/*; ls {tmp_path}/n1.hosts; pgrep -c .")
        seen = subprocess.check_output(look, text=True, timeout=10).split()
        assert seen == ["n1", "/run/*", "/dev/shm/*", f"{tmp_path}/n1.hosts", "2"]  # the first process and sh
        server = listen(three, "n2")
        assert reaches(three, "n0", "n2")
        three.unplug("n2")
        assert not reaches(three, "n1", "n2")
        three.plug("n2")
        nodes.until(lambda: reaches(three, "n1", "n2"), "the cable stays out")
        three.kill("n2")
        assert server.wait(10) != 0
        assert not reaches(three, "n1", "n2")
        three.boot("n2")
        server = listen(three, "n2")
        pid = three.pid("n1")
    assert server.wait(10) != 0
    assert not Path(f"/proc/{pid}").exists()


def test_nodes_end_with_the_process_that_made_them(tmp_path):
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom cluster import nodes\n"
        f"with nodes.Nodes(Path({str(tmp_path)!r}), ['n0', 'n1']) as two:\n"
        "    print(two.pid('n0'), two.pid('n1'), flush=True)\n    time.sleep(60)\n"
    )
    place = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", program], env=place, stdout=subprocess.PIPE, text=True) as owner:
        pids = owner.stdout.readline().split()
        assert len(pids) == 2 and all(Path("/proc", pid).exists() for pid in pids)
        owner.send_signal(signal.SIGKILL)
    nodes.until(lambda: not any(Path("/proc", pid).exists() for pid in pids), f"{pids} remain")
