"""Servers that misbehave, all on this machine; nothing here depends on its speed."""

import hashlib
import resource
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from distlenet.data.sources.download import Patience, download
from distlenet.errors import DownloadError

DATA = np.random.default_rng(5).bytes(300_000)
SHA256 = hashlib.sha256(DATA).hexdigest()
QUICK = Patience(silence=30, transfer=60, pause=0, attempts=3)


class Server:
    """Answers each request with the next of ``answers``, and repeats the last."""

    def __init__(self):
        self.answers = [answer(DATA)]
        self.asked = 0
        self.over = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.asked += 1
                answer = outer.answers.pop(0) if len(outer.answers) > 1 else outer.answers[0]
                self.over = outer.over
                answer(self)

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.http.handle_error = lambda *_: None  # clients are expected to hang up
        self.url = f"http://127.0.0.1:{self.http.server_port}/file"
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self):
        self.over.set()
        self.http.shutdown()
        self.http.server_close()


def answer(data, length=None, status=200, then_hang=False, **headers):
    """Return an answer of ``data`` that claims ``length`` bytes; None: the right number, "unsaid": no claim."""

    def send(handler):
        handler.send_response(status)
        if length != "unsaid":
            handler.send_header("Content-Length", str(len(data) if length is None else length))
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(data)
        if then_hang:
            handler.over.wait(60)

    return send


def garbage(handler):
    handler.wfile.write(b"\x16\x03\x01 this is no HTTP at all\r\n\r\n")


def hang_at_once(handler):
    handler.over.wait(60)


def drip(handler):
    answer(b"", len(DATA))(handler)
    while not handler.over.wait(0.02):
        handler.wfile.write(b"x")


def to(url, status=302):
    return answer(b"", status=status, Location=url)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def server():
    server = Server()
    yield server
    server.close()


other = server


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cache" / "file.gz"


def fetch(path, *urls, patience=QUICK, **options):
    return download(urls, path, sha256=SHA256, largest=len(DATA), patience=patience, **options)


def test_a_good_server(server, path):
    seen = []
    assert fetch(path, server.url, progress=lambda *told: seen.append(told)) == server.url
    assert path.read_bytes() == DATA
    assert [entry.name for entry in path.parent.iterdir()] == ["file.gz"]
    assert seen[-1] == ("downloading file.gz", len(DATA), len(DATA))
    assert [done for _, done, _ in seen] == sorted({done for _, done, _ in seen})


def test_a_server_that_does_not_announce_the_length(server, path):
    server.answers = [answer(DATA, "unsaid")]
    fetch(path, server.url)
    assert path.read_bytes() == DATA


def test_a_transfer_that_breaks_off_is_tried_again(server, path):
    cut = answer(DATA[:1000], len(DATA))
    server.answers = [cut, cut, answer(DATA)]
    fetch(path, server.url)
    assert path.read_bytes() == DATA and server.asked == 3


@pytest.mark.parametrize(
    ("bad", "says", "asked"),
    [
        (answer(bytes(len(DATA))), "wrong SHA-256", 3),
        (answer(b"<html>please sign in</html>"), "wrong SHA-256", 3),
        (answer(DATA[:1000], "unsaid"), "wrong SHA-256", 3),
        (answer(DATA, len(DATA) - 10), "wrong SHA-256", 3),
        (answer(DATA[5:], status=206), "wrong SHA-256", 3),
        (answer(DATA[:1000], len(DATA)), "broke off after 1,000 of 300,000 bytes", 3),
        (answer(DATA + b"x"), "offers 300,001 bytes, expected at most 300,000", 1),
        (answer(DATA * 3, "unsaid"), "sent more than 300,000 bytes", 1),
        (answer(b"no such file", status=404), "answered 404", 1),
        (answer(b"", status=500), "answered 500", 3),
        (answer(b"", "9" * 5000), "failed: ", 3),
        (garbage, "failed: ", 3),
    ],
)
def test_the_next_mirror_is_tried_and_the_last_reason_is_reported(server, other, path, bad, says, asked):
    server.answers = [bad]
    with pytest.raises(DownloadError, match=says) as raised:
        fetch(path, server.url)
    message = str(raised.value)
    assert f":{server.http.server_port} " in message and "file.gz" in message and "\n" not in message
    assert not path.exists() and server.asked == asked
    assert fetch(path, server.url, other.url) == other.url
    assert path.read_bytes() == DATA


def test_the_reason_of_each_mirror_is_reported(server, other, path):
    server.answers, other.answers = [answer(b"", status=404)], [answer(b"", status=500)]
    with pytest.raises(DownloadError, match=r"answered 404 .*; .* answered 500"):
        fetch(path, server.url, other.url)


@pytest.mark.parametrize(
    ("slow", "says"),
    [
        (hang_at_once, "was silent for 0.2 s"),
        (answer(DATA[:1000], len(DATA), then_hang=True), "was silent for 0.2 s"),
        (drip, "took longer than 0.3 s"),
    ],
)
def test_a_slow_server_is_given_up(server, path, slow, says):
    server.answers = [slow]
    with pytest.raises(DownloadError, match=says):
        fetch(path, server.url, patience=Patience(silence=0.2, transfer=0.3, pause=0, attempts=1))


def test_no_server_listens(path):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound, never listening: connections are refused
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/file"
        with pytest.raises(DownloadError, match="refused"):
            fetch(path, url)


def test_name_resolution_fails(path, monkeypatch):
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
def test_only_https(server, path, url):
    with pytest.raises(DownloadError, match="expected https"):
        fetch(path, url)
    server.answers = [to(url)]
    with pytest.raises(DownloadError, match=r"expected https|Redirection to url"):
        fetch(path, server.url)
    assert server.asked == 1


def test_circular_redirects_end(server, path):
    server.answers = [to(server.url)]
    with pytest.raises(DownloadError, match="redirect"):
        fetch(path, server.url, patience=Patience(pause=0, attempts=1))


def test_a_full_disk_is_not_blamed_on_the_mirror(server, path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(DownloadError, match=r"^cannot write .*: the disk is full \(file too large\)$"):
            fetch(path, server.url)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(path.parent.iterdir()) == []


def test_a_cache_that_cannot_be_written(server, path):
    path.parent.write_text("a file where the directory should be")
    with pytest.raises(DownloadError, match=r"^cannot write .*file.gz: "):
        fetch(path, server.url)
