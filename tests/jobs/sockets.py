"""Each rank prints the network addresses at which it can be reached, once it has heartbeats."""

import os
from pathlib import Path

from distlenet.parallel.connect import connect
from distlenet.parallel.heartbeat import Heartbeats

LISTENING, LOOPBACK = {"tcp": "0A", "udp": "07"}, ("0100007F", "0" * 24 + "01000000")
comm = connect()
heartbeats = Heartbeats(comm)
links = [os.readlink(entry) for entry in Path("/proc/self/fd").iterdir() if os.path.lexists(entry)]
own = {link[8:-1] for link in links if link.startswith("socket:[")}
found = []
for protocol in ("tcp", "tcp6", "udp", "udp6"):
    for line in Path(f"/proc/net/{protocol}").read_text().splitlines()[1:]:
        fields = line.split()
        address = fields[1].split(":")[0]
        inherited = protocol == "tcp" and "PMI_FD" in os.environ  # left open by MPICH's mpirun
        if fields[9] in own and fields[3] == LISTENING[protocol[:3]] and address not in LOOPBACK and not inherited:
            found.append(f"{protocol} {fields[1]}")
everything = comm.allgather(found)
if comm.is_root:
    print("reachable", everything)
comm.leave(0)
