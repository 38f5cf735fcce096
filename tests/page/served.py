"""A server in a separate process."""

import re
import signal
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import mpi_jobs


class Served(mpi_jobs.Job):
    """A running ``distlenet draw``, once it listens; ``url`` is the address that it printed."""

    def __init__(self, command: list[str], **more: object) -> None:
        super().__init__(command, **more)
        mpi_jobs.wait_for(lambda: "Ctrl-C" in self._read(0), self)
        self.url = re.search(r"http://\S+/", self._read(0)).group()

    def stop(self, number: signal.Signals) -> mpi_jobs.Finished:
        """End it by a signal."""
        self.process.send_signal(number)
        return self.finish()


class Prefixed:
    """A proxy that serves the page at ``url`` below ``path``, under the Host that the page expects."""

    def __init__(self, url: str, path: str) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.do_POST()

            def do_POST(self) -> None:
                if not self.path.startswith(f"{path}/"):
                    return self.send_error(404)
                body = self.rfile.read(int(self.headers.get("Content-Length", 0))) or None
                kind = {"Content-Type": self.headers.get("Content-Type", "")} if body else {}
                request = urllib.request.Request(url + self.path.removeprefix(f"{path}/"), body, kind)
                try:
                    with urllib.request.urlopen(request, timeout=20) as response:
                        code, content, kind = response.status, response.read(), response.headers["Content-Type"]
                except urllib.error.HTTPError as error:
                    code, content, kind = error.code, error.read(), "application/json"
                self.send_response(code)
                self.send_header("Content-Type", kind)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        self._server, self._path = ThreadingHTTPServer(("127.0.0.1", 0), Handler), path

    def __enter__(self) -> str:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self._server.server_port}{self._path}/"

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
