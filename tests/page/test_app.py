"""The addresses of the page: answers, and refusals in one sentence each."""

import html
import io
import json
import re
import threading
import zlib
from itertools import pairwise

import numpy as np
import pytest

pytest.importorskip("flask", reason="the drawing page needs distlenet[draw]")
from pens import drawing, strokes_of
from PIL import Image
from scenes import saved

from distlenet.nn import Dense, Flatten, Sequential
from distlenet.page import app as application
from distlenet.page.strokes import LARGEST


@pytest.fixture
def four():
    """A picture of a 4, dark on light, 200 x 300 pixels."""
    pixels = np.full((200, 300), 235, np.uint8)
    for stroke in strokes_of(4):
        points = np.array(stroke)
        for a, b in pairwise(points):
            for t in np.linspace(0, 1, 9):
                x, y = (200 * (a + t * (b - a))).round().astype(int)
                pixels[y - 4 : y + 5, x + 46 : x + 55] = 25
    return saved(Image.fromarray(pixels))


def bomb(side):
    """A PNG that claims side x side pixels in a few bytes."""

    def chunk(kind, data):
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    head = side.to_bytes(4, "big") * 2 + bytes([8, 0, 0, 0, 0])
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(9999))) + chunk(b"IEND", b"")
    )


def refused(response, code, *words):
    assert response.status_code == code, response.data
    assert response.content_type == "application/json"
    sentence = json.loads(response.data)["error"]
    assert sentence.endswith(".") and sentence[0].isupper()
    for word in words:
        assert word in sentence
    return True


@pytest.mark.parametrize("digit", range(10))
def test_every_digit_is_read(client, digit):
    for size, place in ((0.6, (0.5, 0.5)), (0.05, (0.1, 0.9)), (0.98, (0.5, 0.5))):
        answer = client.post("/strokes", json=drawing(strokes_of(digit, size, place))).json
        assert answer["label"] == str(digit)
        assert answer["probability"] == max(answer["probabilities"]) > 0.5


def test_a_picture_is_read(client, four):
    response = client.post("/picture", data=four, content_type="image/png")
    assert response.json["label"] == "4"
    left, top, right, bottom = response.json["box"]
    assert 50 < left < right < 250 and 30 < top < bottom < 170
    assert "read;dur=" in response.headers["Server-Timing"]
    assert client.post("/picture", data=four, content_type="application/octet-stream").json["label"] == "4"


def number(text):
    strokes = []
    for place, digit in enumerate(text):
        strokes += drawing(strokes_of(int(digit), 0.8 / len(text), ((place + 0.5) / len(text), 0.5)))["strokes"]
    return {"strokes": strokes, "width": 0.05 if len(text) < 4 else 0.03}


@pytest.mark.parametrize("text", ["7", "42", "314", "27182"])
def test_several_digits_of_a_drawing(client, text):
    digits = client.post("/strokes?several=1", json=number(text)).json["digits"]
    assert "".join(digit["label"] for digit in digits) == text
    found = client.post("/strokes", json=number(text)).json
    assert found["looks_like"] == len(text)
    assert len(text) == 1 or "error" not in found or "digits, not one" in found["error"]


def test_several_digits_of_a_picture(client, four):
    pixels = np.asarray(Image.open(io.BytesIO(four)))
    row = saved(Image.fromarray(np.hstack([pixels] * 3)))
    digits = client.post("/picture?several=1", data=row, content_type="image/png").json["digits"]
    assert [digit["label"] for digit in digits] == ["4"] * 3
    assert [digit["box"][0] // 300 for digit in digits] == [0, 1, 2]
    assert client.post("/picture", data=row, content_type="image/png").json["looks_like"] == 3
    [alone] = client.post("/picture?several=1", data=four, content_type="image/png").json["digits"]
    assert alone["label"] == "4"


def test_ink_that_is_not_a_digit_among_several(client):
    """A dash and a dot next to the digits; alone they get a sentence. Thousands of strokes do not make it hang."""
    dash, dot = [[0.45, 0.5, 0.55, 0.5], [0.5, 0.9, 0.5, 0.9]]
    strokes = [[0.4 * x if i % 2 == 0 else x for i, x in enumerate(stroke)] for stroke in number("3")["strokes"]]
    strokes += [[0.6 + 0.4 * x if i % 2 == 0 else x for i, x in enumerate(stroke)] for stroke in number("7")["strokes"]]
    found = client.post("/strokes?several=1", json={"strokes": [*strokes, dash, dot], "width": 0.04}).json
    assert len(found["digits"]) == 2
    assert refused(client.post("/strokes?several=1", json={"strokes": [dash], "width": 0.04}), 422)
    noise = np.random.default_rng(1).random((4000, 4)).tolist()
    assert client.post("/strokes?several=1", json={"strokes": noise, "width": 0.001}).status_code in (200, 422)


def test_more_digits_than_are_shown(client, monkeypatch):
    monkeypatch.setattr(application, "MOST_DIGITS", 2)
    assert refused(client.post("/strokes?several=1", json=number("314")), 422, "more than the 2")


def test_a_picture_that_takes_long_keeps_nobody_from_drawing(client, four, monkeypatch):
    """The next picture gets a sentence after a while, a drawing its answer at once."""
    started, goes_on = threading.Event(), threading.Event()
    real = application.read_picture

    def slow(file):
        started.set()
        assert goes_on.wait(20)
        return real(file)

    monkeypatch.setattr(application, "read_picture", slow)
    monkeypatch.setattr(application, "PATIENCE", 0.05)
    other, found = client.application.test_client(), []
    thread = threading.Thread(target=lambda: found.append(client.post("/picture", data=four, content_type="image/png")))
    thread.start()
    assert started.wait(20)
    assert refused(other.post("/picture", data=four, content_type="image/png"), 503, "try again")
    assert other.post("/strokes", json=drawing(strokes_of(3))).json["label"] == "3"
    goes_on.set()
    thread.join(20)
    assert found[0].json["label"] == "4"
    monkeypatch.setattr(application, "read_picture", real)
    assert client.post("/picture", data=four, content_type="image/png").json["label"] == "4"


def test_the_page_names_the_classes_and_layers(client):
    text = client.get("/").text
    assert re.findall(r'class="name">(.*?)<', text) == list("0123456789")
    assert re.findall(r"<b>(.*?)</b>", text) == ["C1", "S2", "C3", "S4", "C5", "F6", "output"]


class Words:
    """A network whose classes have names of any kind."""

    image_shape = (28, 28)
    net = Sequential((1, 28, 28), Flatten(), Dense(3))

    def __init__(self, names):
        self.class_names = names

    def outputs(self, images):
        equal = np.full((len(self.class_names), len(images)), 1 / len(self.class_names))
        return list(zip(self.net.layers, [images, equal], strict=True))

    def likely(self, outputs):
        return outputs


@pytest.mark.parametrize("names", [("no", "yes"), ("T-shirt/top", "<script>alert(1)</script>", '"&'), tuple("ab" * 31)])
def test_other_classes(names):
    guard = application.Guard("127.0.0.1", "127.0.0.1")
    client = application.create_app(Words(names), guard, "a <b>test").test_client()
    text = client.get("/").text
    assert [html.unescape(name) for name in re.findall(r'class="name">(.*?)<', text)] == list(names)
    assert "<script>" not in text and "<b>test" not in text
    found = client.post("/strokes", json=drawing(strokes_of(0))).json
    assert found["label"] == names[0] and len(found["probabilities"]) == len(names)


def test_nothing_of_the_page_is_foreign_or_inline(client):
    """No address of another site, no script, style or handler that the Content-Security-Policy would block."""
    text = client.get("/").text
    files = re.findall(r'(?:src|href)="(.*?)"', text)
    assert files and all(file.startswith("static/") for file in files)  # below any path
    assert not re.search(r"style=|<style|\son\w+=|javascript:|<script(?![^>]*\ssrc=)", text)
    for file in {*files, "static/asker.js", "static/field.js", "static/view.js"}:
        with client.get(f"/{file}") as response:
            assert response.status_code == 200
            found = re.findall(r"https?://[^\"'\s)]+", response.text)
        assert found in ([], ["http://www.w3.org/2000/svg"])


@pytest.mark.parametrize("address", ["/", "/static/draw.css", "/none", "/strokes"])
def test_every_response_is_protected(client, address):
    with client.get(address) as response:
        headers = response.headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert (
        headers["Permissions-Policy"].split(", ")[0] == "camera=(self)"
        and headers["Permissions-Policy"].count("(self)") == 1
    )
    assert "Access-Control-Allow-Origin" not in headers


def test_malformed(client):
    for data in (b"", b"{", b"[" * 100_000, b"\xff\xfe", b'{"strokes": [[1e999, 0]], "width": 1}', b"9" * 5000):
        assert refused(client.post("/strokes", data=data, content_type="application/json"), 400)
    assert refused(client.post("/strokes", json={"strokes": 3, "width": 1}), 400, "strokes")


def test_other_sites_and_names(client):
    body = drawing(strokes_of(1))
    assert refused(client.post("/strokes", json=body, headers={"Origin": "http://evil.example"}), 403, "another site")
    assert refused(client.get("/", headers={"Host": "evil.example"}), 403, "Host")
    assert refused(client.get("/static/main.js", headers={"Host": "evil.example"}), 403)


@pytest.mark.parametrize(
    "address",
    [
        *("/none", "/static/", "/static/none.js", "/static/../app.py", "/static/..%2fapp.py", "/static/%2e%2e/app.py"),
        *("/static//etc/passwd", "/static/%2fetc%2fpasswd", "/static/..%5capp.py", "/static/main.js%00", "/app.py"),
        *("/static/../templates/draw.html", "/templates/draw.html", "//etc/passwd", "/static/../../../pyproject.toml"),
    ],
)
def test_nothing_else_is_reachable(client, address):
    response = client.get(address, follow_redirects=False)
    assert response.status_code in (308, 403, 404)
    assert b"import" not in response.data


def test_methods(client):
    response = client.get("/strokes")
    assert refused(response, 405)
    assert "POST" in response.headers["Allow"]
    assert refused(client.post("/", data=b""), 405)
    assert refused(client.delete("/picture"), 405)


def test_types(client):
    assert refused(client.post("/strokes", data=b"{}", content_type="text/plain"), 415)
    assert refused(client.post("/strokes", data={"strokes": "[]"}), 415)
    assert refused(client.post("/picture", data=b"x", content_type="text/html"), 415, "image/png")
    assert refused(client.post("/picture", data={"file": (io.BytesIO(b"x"), "x.png")}), 415)


def test_too_large(client, monkeypatch):
    assert refused(client.post("/strokes", data=b" " * (LARGEST + 1), content_type="application/json"), 413)
    body = b"x" * (application.LARGEST_PICTURE + 1)
    assert refused(client.post("/picture", data=body, content_type="image/png"), 413)


def test_pictures_that_show_nothing_or_are_none(client, four):
    def post(data):
        return client.post("/picture", data=data, content_type="image/png")

    assert refused(post(saved(Image.new("L", (60, 50), 200))), 422, "blank")
    assert refused(post(b""), 422)
    assert refused(post(b"GIF89a"), 422)
    assert refused(post(four[: len(four) // 2]), 422)
    assert refused(post(bomb(60_000)), 422, "pixels")
    assert refused(post(bomb(9_000)), 422, "9,000 x 9,000 pixels", "64,000,000")
    assert refused(post(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"), 422)


def test_a_blank_field_gets_a_sentence(client):
    assert refused(client.post("/strokes", json=drawing([])), 422, "Nothing is drawn")
    assert refused(client.post("/strokes", json=drawing([[[0.5, 0.5]]])), 422, "dot")


def test_a_defect_is_not_shown(client, monkeypatch):
    def fail(*_):
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(application, "one_digit", fail)
    response = client.post("/strokes", json=drawing(strokes_of(1)))
    assert refused(response, 500)
    assert b"secret" not in response.data
