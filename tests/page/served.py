"""A server in a process of its own."""

import re
import signal

import mpi_jobs


class Served(mpi_jobs.Job):
    """``distlenet draw``, once it listens; ``url`` is the address it printed."""

    def __init__(self, command: list[str], **more: object) -> None:
        super().__init__(command, **more)
        mpi_jobs.wait_for(lambda: "Ctrl-C" in self._read(0), self)
        self.url = re.search(r"http://\S+/", self._read(0)).group()

    def stop(self, number: signal.Signals) -> mpi_jobs.Finished:
        """End it by a signal."""
        self.process.send_signal(number)
        return self.finish()
