"""Foreign names and foreign pages are turned away."""

import pytest

pytest.importorskip("flask", reason="the drawing page needs distlenet[draw]")
from werkzeug.exceptions import Forbidden
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from distlenet.errors import UsageError
from distlenet.page.guard import Guard


def refusal(guard, host, method="GET", **headers):
    """Return why the request is turned away; None if it is not."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    request = Request(EnvironBuilder(method=method, headers={"Host": host, **given}).get_environ())
    try:
        return guard.check(request)
    except Forbidden as error:
        return error.description


def allows(*request, **headers):
    return refusal(*request, **headers) is None


@pytest.mark.parametrize(
    ("host", "address", "ours", "foreign"),
    [
        (
            "127.0.0.1",
            "127.0.0.1",
            ["127.0.0.1:80", "localhost:8028", "LOCALHOST", "[::1]:9", "127.0.0.1"],
            ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", "10.0.0.1", "", "[::1", "@", ":80"],
        ),
        ("::1", "::1", ["[::1]:5", "localhost"], ["[::2]", "evil.example"]),
        ("Box.lan", "10.0.0.7", ["box.lan", "10.0.0.7:3"], ["localhost", "10.0.0.8", "evil.example"]),
        ("0.0.0.0", "0.0.0.0", ["10.0.0.7:3", "[fe80::1]:2", "localhost"], ["evil.example", "1.2.3.4.example"]),
    ],
)
def test_names(host, address, ours, foreign):
    guard = Guard(host, address)
    assert [name for name in ours if not allows(guard, name)] == []
    assert [name for name in foreign if allows(guard, name)] == []


def test_own_name_of_the_machine():
    import socket

    assert allows(Guard("0.0.0.0", "0.0.0.0"), socket.gethostname())
    assert not allows(Guard("127.0.0.1", "127.0.0.1"), f"{socket.gethostname()}.example")


def test_pages_of_other_sites():
    guard, ours = Guard("127.0.0.1", "127.0.0.1"), "127.0.0.1:8028"
    assert allows(guard, ours, "POST")
    assert allows(guard, ours, "POST", Origin=f"http://{ours}", Sec_Fetch_Site="same-origin")
    for origin in (
        "http://evil.example",
        "null",
        "",
        "http://127.0.0.1:9999",
        f"http://{ours}.evil.example",
        "http://[",
    ):
        assert not allows(guard, ours, "POST", Origin=origin), origin
    for site in ("cross-site", "same-site", "strange"):
        assert not allows(guard, ours, "POST", Sec_Fetch_Site=site), site
    assert allows(guard, ours, "GET", Sec_Fetch_Site="cross-site")  # a link to the page


PROXY = "name-8028.app.github.dev"


@pytest.mark.parametrize("allowed", [PROXY, "*.app.github.dev", "Name-8028.App.GitHub.dev", "*.github.dev"])
def test_names_that_are_allowed(allowed):
    """Behind a proxy that keeps its name as the Host, or that makes it ours."""
    guard = Guard("127.0.0.1", "127.0.0.1", ["box.lan", allowed])
    for host in (PROXY, f"{PROXY}:443", "box.lan", "localhost:8028"):
        assert allows(guard, host)
    for host in (PROXY, "localhost:8028"):
        assert allows(guard, host, "POST", Origin=f"https://{PROXY}", Sec_Fetch_Site="same-origin")
        assert not allows(guard, host, "POST", Origin=f"https://{PROXY}", Sec_Fetch_Site="cross-site")
        assert not allows(guard, host, "POST", Origin="https://evil.example", Sec_Fetch_Site="same-origin")


@pytest.mark.parametrize(
    "host",
    [
        "app.github.dev.evil.example",
        "evilapp.github.dev",
        "app.github.dev",
        ".evil.example",
        "evil.example",
        "box.lan.",
    ],
)
def test_what_only_looks_like_an_allowed_name(host):
    guard = Guard("127.0.0.1", "127.0.0.1", ["*.app.github.dev", "box.lan"])
    assert not allows(guard, host)
    assert not allows(guard, "localhost", "POST", Origin=f"https://{host}")
    forwarded = {"X-Forwarded-Host": "box.lan", "X-Forwarded-For": "127.0.0.1", "Forwarded": "host=box.lan"}
    assert not allows(guard, host, **forwarded)


def test_a_refusal_names_the_option():
    guard = Guard("127.0.0.1", "127.0.0.1")
    assert f"start distlenet draw with --allow-host {PROXY}." in refusal(guard, f"{PROXY}:443")
    assert f"--allow-host {PROXY}." in refusal(guard, "localhost:8028", "POST", Origin=f"https://{PROXY}")
    for odd in ("<b>", "a b", "x;y", "\u00e4.example", "a" * 300):
        assert "--allow-host" not in refusal(guard, odd.encode().decode("latin-1"))


@pytest.mark.parametrize(
    "name", ["*", "*.dev", "http://box.lan", "box.lan:80", "", "a..b", "*box.lan", "a.*.b", "-a", "."]
)
def test_names_that_cannot_be_allowed(name):
    """Among them all that would let every name in."""
    with pytest.raises(UsageError, match="--allow-host"):
        Guard("127.0.0.1", "127.0.0.1", [name])
