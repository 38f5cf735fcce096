"""Servers that misbehave, all on this machine; nothing here depends on how fast it is."""

import fcntl
import hashlib
import re
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from distlenet.data.sources.download import Patience, download
from distlenet.errors import DownloadError

DATA = np.random.default_rng(5).bytes(300_000)
SHA256 = hashlib.sha256(DATA).hexdigest()
QUICK = Patience(silence=30, transfer=60, pause=0, attempts=3)


class Server:
    """Answers each request with the next of ``answers``; the last one stays."""

    def __init__(self):
        self.answers = [whole]
        self.asked = []  # the Range of each request, None without
        self.over = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.asked.append(self.headers.get("Range"))
                answer = outer.answers.pop(0) if len(outer.answers) > 1 else outer.answers[0]
                self.over = outer.over
                answer(self)

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.http.handle_error = lambda *_: None  # clients that hang up are the point here
        self.url = f"http://127.0.0.1:{self.http.server_port}/file"
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self):
        self.over.set()
        self.http.shutdown()
        self.http.server_close()


def send(handler, status, data, length=None, **headers):
    handler.send_response(status)
    if length != "unsaid":
        handler.send_header("Content-Length", str(len(data) if length is None else length))
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(data)


def whole(handler):
    """Do as a good server does: ranges included."""
    said = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
    if not said:
        send(handler, 200, DATA)
    elif int(said[1]) >= len(DATA):
        send(handler, 416, b"", Content_Range=f"bytes */{len(DATA)}")
    else:
        start = int(said[1])
        send(handler, 206, DATA[start:], Content_Range=f"bytes {start}-{len(DATA) - 1}/{len(DATA)}")


def no_ranges(handler):
    send(handler, 200, DATA)


def no_length(handler):
    send(handler, 200, DATA, "unsaid")


def cut(handler):
    """Break off after half of what is left."""
    said = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
    start = int(said[1]) if said else 0
    rest = DATA[start:]
    headers = {"Content_Range": f"bytes {start}-{len(DATA) - 1}/{len(DATA)}"} if said else {}
    send(handler, 206 if said else 200, rest[: len(rest) // 2], len(rest), **headers)


def cut_without_a_word(handler):
    send(handler, 200, DATA[:1000], "unsaid")


def wrong(handler):
    send(handler, 200, bytes(len(DATA)))


def wrong_of_other_size(handler):
    send(handler, 200, b"<html>please sign in</html>")


def wrong_part(handler):
    send(handler, 206, DATA[5:], Content_Range=f"bytes 5-{len(DATA) - 1}/{len(DATA)}")


def part_of_unsaid_place(handler):
    send(handler, 206, DATA)


def too_long(handler):
    send(handler, 200, DATA + b"x")


def too_long_without_length(handler):
    send(handler, 200, DATA * 3, "unsaid")


def says_too_little(handler):
    send(handler, 200, DATA, len(DATA) - 10)


def missing(handler):
    send(handler, 404, b"no such file")


def broken(handler):
    send(handler, 500, b"")


def never_a_range(handler):
    send(handler, 416, b"")


def hang_at_once(handler):
    handler.over.wait(60)


def hang_on_the_way(handler):
    send(handler, 200, DATA[:1000], len(DATA))
    handler.over.wait(60)


def garbage(handler):
    handler.wfile.write(b"\x16\x03\x01 this is no HTTP at all\r\n\r\n")


def to(url, status=302):
    def redirect(handler):
        send(handler, status, b"", Location=url)

    return redirect


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def server():
    server = Server()
    yield server
    server.close()


@pytest.fixture
def other():
    server = Server()
    yield server
    server.close()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cache" / "file.gz"


def fetch(path, *urls, patience=QUICK, **options):
    return download(urls, path, sha256=SHA256, largest=len(DATA), patience=patience, **options)


def names(path):
    return sorted(entry.name for entry in path.parent.iterdir())


def test_a_good_server(server, path):
    seen = []
    assert fetch(path, server.url, progress=lambda *told: seen.append(told)) == server.url
    assert path.read_bytes() == DATA
    assert names(path) == ["file.gz"]
    assert seen[-1] == ("downloading file.gz", len(DATA), len(DATA))
    assert [done for _, done, _ in seen] == sorted({done for _, done, _ in seen})


@pytest.mark.parametrize("answer", [no_length, no_ranges])
def test_servers_that_can_do_less(server, path, answer):
    server.answers = [answer]
    fetch(path, server.url)
    assert path.read_bytes() == DATA


def test_a_transfer_that_breaks_off_goes_on_where_it_was(server, path):
    server.answers = [cut, cut, whole]
    fetch(path, server.url)
    assert path.read_bytes() == DATA
    assert server.asked == [None, "bytes=150000-", "bytes=225000-"]


def test_a_later_run_goes_on_and_so_does_another_mirror(server, other, path):
    server.answers = [cut, missing]
    with pytest.raises(DownloadError, match="answered 404"):
        fetch(path, server.url)
    assert names(path) == ["file.gz.part"]
    fetch(path, other.url)
    assert other.asked == ["bytes=150000-"]
    assert path.read_bytes() == DATA and names(path) == ["file.gz"]


@pytest.mark.parametrize("answer", [no_ranges, wrong_part, never_a_range])
def test_a_range_that_is_ignored_or_refused_starts_anew(server, path, answer):
    path.parent.mkdir()
    Path(f"{path}.part").write_bytes(DATA[:1000])
    server.answers = [answer, whole]
    fetch(path, server.url)
    assert path.read_bytes() == DATA
    assert server.asked[0] == "bytes=1000-"


@pytest.mark.parametrize("left", [b"x" * 1000, DATA[:999] + b"x", bytes(len(DATA)), DATA + b"x", bytes(10**6)])
def test_a_wrong_part_left_behind_is_not_kept(server, path, left):
    path.parent.mkdir()
    Path(f"{path}.part").write_bytes(left)
    fetch(path, server.url)
    assert path.read_bytes() == DATA


def test_a_complete_part_needs_no_server(path):
    path.parent.mkdir()
    Path(f"{path}.part").write_bytes(DATA)
    fetch(path, "http://127.0.0.1:1/")
    assert path.read_bytes() == DATA and names(path) == ["file.gz"]


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (wrong, "wrong SHA-256"),
        (wrong_of_other_size, "wrong SHA-256"),
        (cut_without_a_word, "wrong SHA-256"),
        (says_too_little, "wrong SHA-256|sent"),
        (too_long, "offers 300,001 bytes, expected at most 300,000"),
        (too_long_without_length, "sent more than 300,000 bytes"),
        (part_of_unsaid_place, "without saying which"),
        (missing, "answered 404"),
        (broken, "answered 500"),
        (never_a_range, "answered 416"),
        (garbage, "failed: "),
    ],
)
def test_the_next_mirror_helps_and_if_none_does_the_reason_is_told(server, other, path, answer, says):
    server.answers = [answer]
    with pytest.raises(DownloadError, match=says) as raised:
        fetch(path, server.url)
    message = str(raised.value)
    assert f":{server.http.server_port} " in message and "file.gz" in message and "\n" not in message
    assert not path.exists()
    assert fetch(path, server.url, other.url) == other.url
    assert path.read_bytes() == DATA


def test_a_missing_file_is_asked_for_once_and_a_failing_server_several_times(server, other, path):
    server.answers, other.answers = [missing], [broken]
    with pytest.raises(DownloadError, match=r"answered 404 .*; .* answered 500"):
        fetch(path, server.url, other.url)
    assert (len(server.asked), len(other.asked)) == (1, 3)


@pytest.mark.parametrize("answer", [hang_at_once, hang_on_the_way])
def test_a_silent_server_is_left(server, path, answer):
    server.answers = [answer]
    with pytest.raises(DownloadError, match=r"was silent for 0.2 s"):
        fetch(path, server.url, patience=Patience(silence=0.2, pause=0, attempts=1))


def test_a_server_that_sends_for_ever(server, path):
    def drip(handler):
        send(handler, 200, b"", len(DATA))
        while not handler.over.wait(0.02):
            handler.wfile.write(b"x")

    server.answers = [drip]
    with pytest.raises(DownloadError, match=r"took longer than 0.3 s"):
        fetch(path, server.url, patience=Patience(silence=30, transfer=0.3, pause=0, attempts=1))


def test_nobody_listens(path):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound, never listening: connections are refused
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/file"
        with pytest.raises(DownloadError, match="refused"):
            fetch(path, url)


def test_no_name_is_found(path, monkeypatch):
    def offline(*_args, **_options):
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", offline)
    for variable in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("no_proxy", "*")
    with pytest.raises(DownloadError, match=r"mirror.invalid failed: Temporary failure in name resolution"):
        fetch(path, "https://mirror.invalid/file")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_within_this_machine_are_followed(server, other, path, status):
    server.answers = [to(other.url, status)]
    fetch(path, server.url)
    assert path.read_bytes() == DATA


@pytest.mark.parametrize(
    "url",
    [
        "http://mirror.invalid/file",
        "ftp://127.0.0.1/file",
        "file:///etc/hostname",
        "http://127.0.0.1.mirror.invalid/",
    ],
)
def test_nothing_but_https(server, path, url):
    with pytest.raises(DownloadError, match="expected https"):
        fetch(path, url)
    server.answers = [to(url)]
    with pytest.raises(DownloadError, match=r"expected https|Redirection to url"):
        fetch(path, server.url)
    assert len(server.asked) == 1


def test_redirects_in_a_circle_end(server, path):
    server.answers = [to(server.url)]
    with pytest.raises(DownloadError, match="redirect"):
        fetch(path, server.url, patience=Patience(pause=0, attempts=1))


def test_two_at_the_same_time_do_not_meet(server, path):
    """While another process fills the part, ours goes to a file of its own."""
    path.parent.mkdir()
    shared = Path(f"{path}.part")
    with shared.open("wb") as held:
        held.write(b"what the other process has so far")
        held.flush()
        fcntl.flock(held, fcntl.LOCK_EX)
        fetch(path, server.url)
        assert server.asked == [None]
        assert shared.read_bytes() == b"what the other process has so far"
        assert path.read_bytes() == DATA and names(path) == ["file.gz", "file.gz.part"]
        server.answers = [cut, missing]
        path.unlink()
        with pytest.raises(DownloadError, match="404"):
            fetch(path, server.url)
        assert names(path) == ["file.gz.part"]


def test_threads_that_fetch_the_same_file(server, path):
    failures = []

    def one():
        try:
            fetch(path, server.url)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == [] and path.read_bytes() == DATA and names(path) == ["file.gz"]


FULL = """
import resource, sys
sys.path.insert(0, {root!r})
from pathlib import Path
from distlenet.data.sources.download import download
from distlenet.errors import DownloadError
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    download([{url!r}], Path({path!r}), sha256="", largest=10**6)
except DownloadError as error:
    print(error)
"""


def test_a_full_disk_is_not_blamed_on_the_mirror(server, path):
    program = FULL.format(root=str(Path(__file__).parents[2]), url=server.url, path=str(path))
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout == f"cannot store {path}: File too large\n"


def test_a_cache_that_cannot_be_written(path):
    path.parent.write_text("a file where the directory should be")
    with pytest.raises(DownloadError, match="cannot store"):
        fetch(path, "http://127.0.0.1:1/")
