"""Foreign names and foreign pages are turned away."""

import pytest

pytest.importorskip("flask", reason="the drawing page needs distlenet[draw]")
from werkzeug.exceptions import Forbidden
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from distlenet.page.guard import Guard


def allows(guard, host, method="GET", **headers):
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    request = Request(EnvironBuilder(method=method, headers={"Host": host, **given}).get_environ())
    try:
        guard.check(request)
    except Forbidden:
        return False
    return True


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
