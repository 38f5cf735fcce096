"""The page and its two requests: which digit is in these strokes, or in this picture?

The answer is that of one digit, or with ``?several=1`` ``{"digits": [answer, ...]}`` in reading order. Every refusal is
JSON, ``{"error": sentence}``: 400 malformed, 403 not from our page, 404, 405, 413 too large, 415 not of the expected
type, 422 readable, but it shows nothing to recognise, 503 busy.
"""

import json
import threading
import time
from io import BytesIO
from pathlib import Path
from typing import Any

from flask import Flask, Response, jsonify, render_template, request, send_file
from werkzeug.exceptions import BadRequest, HTTPException, ServiceUnavailable, UnsupportedMediaType
from werkzeug.wrappers import Response as BaseResponse

from distlenet.errors import DistlenetError, PictureError
from distlenet.page.answer import answer, shown_layers
from distlenet.page.guard import Guard, protect
from distlenet.page.strokes import LARGEST, each_digit, one_digit, read_drawing
from distlenet.pictures import Digit, digits_in, read_picture
from distlenet.reader import Reader

PALETTE = Path(__file__).parents[1] / "palette.css"
MOST_DIGITS = 40  # digits shown per picture
PATIENCE = 4.0  # seconds that a picture waits for the previous one
LARGEST_PICTURE = 32 * 2**20  # bytes of an uploaded file


def create_app(reader: Reader, guard: Guard, about: str) -> Flask:
    """Return the application; ``about`` describes the network in a few words."""
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = LARGEST_PICTURE
    shown, shape = shown_layers(reader.net.layers), reader.image_shape
    one_picture = threading.Lock()  # waiting pictures must not block all threads, which drawings need

    @app.before_request
    def check() -> None:
        guard.check(request)

    app.after_request(protect)

    @app.get("/")
    def page() -> str:
        digits = all(name.isdecimal() for name in reader.class_names)
        return render_template(
            "draw.html",
            about=about,
            title="Draw a digit" if digits else "Draw",
            names=reader.class_names,
            image_shape=reader.image_shape,
            layers=shown,
            largest=LARGEST_PICTURE,
        )

    @app.get("/static/palette.css")
    def palette() -> Response:
        return send_file(PALETTE)

    @app.post("/strokes")
    def strokes() -> Response:
        request.max_content_length = LARGEST
        started = time.perf_counter()
        drawing = read_drawing(_json())
        if several():
            return answered(each_digit(drawing, reader), started)
        return answered([one_digit(drawing, reader)], started)

    @app.post("/picture")
    def picture() -> Response:
        if not request.mimetype.startswith("image/") and request.mimetype != "application/octet-stream":
            raise UnsupportedMediaType("Send the file itself, as image/png or the like.")
        file = BytesIO(request.get_data(cache=False))
        started = time.perf_counter()
        if not one_picture.acquire(timeout=PATIENCE):
            raise ServiceUnavailable("Another picture is still being read: try again in a moment.")
        try:
            digits = digits_in(read_picture(file), shape, many=several(), likely=reader.probabilities)
        finally:
            one_picture.release()
        return answered(digits, started, boxes=True)

    def answered(digits: list[Digit], started: float, boxes: bool = False) -> Response:
        read = time.perf_counter()
        if len(digits) > MOST_DIGITS:
            raise PictureError(f"the picture has {len(digits)} digits, more than the {MOST_DIGITS} that the page shows")
        answers = []
        for digit in digits:
            box = {"box": digit.box} if boxes else {}
            answers.append(answer(reader, shown, digit.image) | box | {"looks_like": digit.looks_like})
        done = time.perf_counter()
        response = jsonify({"digits": answers} if several() else answers[0])
        response.headers["Server-Timing"] = f"read;dur={1e3 * (read - started):.2f}, look;dur={1e3 * (done - read):.2f}"
        return response

    @app.errorhandler(DistlenetError)
    def unanswerable(error: DistlenetError) -> tuple[dict[str, Any], int]:
        return {"error": _sentence(str(error)), "looks_like": getattr(error, "count", 1)}, 422

    @app.errorhandler(HTTPException)
    def refused(error: HTTPException) -> BaseResponse:
        response = error.get_response()  # with its own headers: Allow, for example
        response.data = json.dumps({"error": _sentence(error.description or error.name)})
        response.content_type = "application/json"
        return response

    return app


def several() -> bool:
    """Whether the request asks for all digits, not for one: ``?several=1``."""
    return request.args.get("several") == "1"


def _json() -> object:
    try:
        return request.get_json()
    except RecursionError as error:
        raise BadRequest("The drawing is nested too deeply.") from error


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:].rstrip(".") + "."
