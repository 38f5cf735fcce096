"""``distlenet draw`` as a process: its address, its end, its errors."""

import http.client
import json
import signal
import socket
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import mpi_jobs
import pytest

pytest.importorskip("flask", reason="the drawing page needs distlenet[draw]")
pytest.importorskip("waitress", reason="the drawing page needs distlenet[draw]")
from pens import drawing, strokes_of
from served import Served

from distlenet.errors import PageError
from distlenet.page.server import listen, url_of


def command(reader, *options):
    return [sys.executable, "-m", "distlenet", "draw", str(reader), *options]


def ask(url, digit):
    body = json.dumps(drawing(strokes_of(digit))).encode()
    request = urllib.request.Request(f"{url}strokes", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as response:
        return json.load(response)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(reader, number):
    with Served(command(reader, "--port", "0")) as server:
        done = server.stop(number).expect()  # at the very moment the address is printed
    with Served(command(reader, "--port", "0")) as server:
        assert server.url.startswith("http://127.0.0.1:")
        assert ask(server.url, 3)["label"] == "3"
        done = server.stop(number).expect()
    assert done.stderr == ""
    assert done.stdout.count("\n") == 1


def test_a_waiting_connection_does_not_hold_up_the_end(reader):
    with Served(command(reader, "--port", "0")) as server:
        place = urlsplit(server.url)
        with socket.create_connection((place.hostname, place.port)) as open_end:
            open_end.sendall(b"POST /strokes HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n{")
            time.sleep(0.1)
            assert server.stop(signal.SIGTERM).returncode == 0


def test_ipv6_and_a_name(reader):
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    try:
        listen("::1", 0).close()
    except PageError:
        pytest.skip("no IPv6 loopback here")
    with Served(command(reader, "--host", "::1", "--port", "0")) as server:
        assert server.url.startswith("http://[::1]:")
        assert ask(server.url, 1)["label"] == "1"


def test_more_than_this_machine_gets_a_note(reader):
    with Served(command(reader, "--host", "0.0.0.0", "--port", "0")) as server:
        assert server.url.startswith("http://localhost:")
        assert ask(server.url.replace("localhost", "127.0.0.1"), 7)["label"] == "7"
        assert "note: everybody" in server.stop(signal.SIGINT).expect().stderr


def test_many_clients_at_once(served):
    """More than there are threads; every one gets the answer to its own drawing."""
    with ThreadPoolExecutor(10) as threads:
        found = threads.map(lambda digit: [ask(served.url, digit)["label"] for _ in range(5)], range(10))
    assert list(found) == [[str(digit)] * 5 for digit in range(10)]


def test_large_requests_are_refused_before_they_are_read(served):
    place = urlsplit(served.url)
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=20)
    connection.putrequest("POST", "/picture")
    connection.putheader("Content-Type", "image/png")
    connection.putheader("Content-Length", str(2**40))
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()


def test_noise_on_the_socket(served):
    place = urlsplit(served.url)
    for noise in (b"\x16\x03\x01\x02\x00\x01", b"GET\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"\0" * 5000):
        with socket.create_connection((place.hostname, place.port), timeout=20) as end:
            end.sendall(noise)
            end.shutdown(socket.SHUT_WR)
            assert b"200 OK" not in end.recv(4096)
    assert ask(served.url, 5)["label"] == "5"


def test_the_address_is_taken_or_foreign(distlenet, reader, only_sentence):
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        only_sentence(distlenet("draw", reader, "--port", port), PageError.exit_code, str(port), "--port 0")
    only_sentence(distlenet("draw", reader, "--host", "192.0.2.1"), PageError.exit_code, "192.0.2.1", "--host")
    only_sentence(distlenet("draw", reader, "--host", "no.such.invalid"), PageError.exit_code, "no.such.invalid")


def test_wrong_arguments(distlenet, tmp_path, only_sentence):
    only_sentence(distlenet("draw", tmp_path / "none", "--port", 70000), 2, "70000")
    only_sentence(distlenet("draw", tmp_path / "none"), 5, "none")


@pytest.mark.parametrize("missing", ["flask", "waitress"])
def test_without_the_extra(missing, reader, only_sentence):
    program = (
        f"import sys; sys.modules[{missing!r}] = None; from distlenet.cli import main;"
        f"sys.exit(main(['draw', {str(reader)!r}]))"
    )
    only_sentence(mpi_jobs.run([sys.executable, "-c", program]), 2, missing, "-m pip install", "[draw]")


@pytest.mark.parametrize("named", [True, False])
def test_open(monkeypatch, reader, named):
    """--open hands the browser the address, once the page can be fetched."""
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.setattr("distlenet.page.server.serve", lambda app, listener: None)
    from distlenet.cli import main

    assert main(["draw", *([str(reader)] if named else []), "--port", "0", "--open"]) == 0
    assert len(opened) == 1 and opened[0].startswith("http://127.0.0.1:")


def test_addresses():
    with listen("localhost", 0) as listener:
        assert url_of(listener).endswith(f":{listener.getsockname()[1]}/")
