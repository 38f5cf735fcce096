"""The page and the two questions it asks: what do these strokes show, what does this picture show?

Every refusal is JSON, ``{"error": sentence}``: 400 malformed, 403 not from our page, 404, 405, 413 too large,
415 not of the expected type, 422 readable, but it shows nothing to recognise.
"""

import json
import threading
import time
from io import BytesIO
from typing import Any

from flask import Flask, Response, render_template, request
from werkzeug.exceptions import BadRequest, HTTPException, UnsupportedMediaType

from distlenet.errors import DistlenetError
from distlenet.page.answer import answer, shown_layers
from distlenet.page.guard import Guard, protect
from distlenet.page.strokes import LARGEST, ink_of, read_drawing
from distlenet.pictures import Digit, Recognizer, digits_in, digits_in_ink, read_picture

LARGEST_PICTURE = 32 * 2**20  # bytes of an uploaded file


def create_app(recognizer: Recognizer, guard: Guard, about: str) -> Flask:
    """Return the application; ``about`` says in a few words which network answers."""
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = LARGEST_PICTURE
    shown = shown_layers(recognizer.layers)
    one_picture = threading.Lock()  # a decoded picture can take hundreds of megabytes: one at a time

    @app.before_request
    def check() -> None:
        guard.check(request)

    app.after_request(protect)

    @app.get("/")
    def page() -> str:
        digits = all(name.isdecimal() for name in recognizer.class_names)
        return render_template(
            "draw.html",
            about=about,
            title="Draw a digit" if digits else "Draw",
            names=recognizer.class_names,
            image_shape=recognizer.image_shape,
            layers=shown,
            largest=LARGEST_PICTURE,
        )

    @app.post("/strokes")
    def strokes() -> Response:
        request.max_content_length = LARGEST
        begun = time.perf_counter()
        ink = ink_of(read_drawing(_json()))
        [digit] = digits_in_ink(ink, recognizer.image_shape)
        return answered(digit, begun)

    @app.post("/picture")
    def picture() -> Response:
        if not request.mimetype.startswith("image/") and request.mimetype != "application/octet-stream":
            raise UnsupportedMediaType("Send the file itself, as image/png or the like.")
        file = BytesIO(request.get_data(cache=False))
        begun = time.perf_counter()
        with one_picture:
            [digit] = digits_in(read_picture(file), recognizer.image_shape)
        return answered(digit, begun, box=digit.box)

    def answered(digit: Digit, begun: float, **more: Any) -> Response:
        read = time.perf_counter()
        found = answer(recognizer, shown, digit.image)
        done = time.perf_counter()
        response = app.json.response(found | more)
        response.headers["Server-Timing"] = f"read;dur={1e3 * (read - begun):.2f}, look;dur={1e3 * (done - read):.2f}"
        return response

    @app.errorhandler(DistlenetError)
    def unanswerable(error: DistlenetError) -> tuple[dict[str, str], int]:
        return {"error": _sentence(str(error))}, 422

    @app.errorhandler(HTTPException)
    def refused(error: HTTPException) -> Response:
        response = error.get_response()  # with its own headers: Allow, for example
        response.data = json.dumps({"error": _sentence(error.description or error.name)})
        response.content_type = "application/json"
        return response

    return app


def _json() -> object:
    try:
        return request.get_json()
    except RecursionError as error:
        raise BadRequest("The drawing is nested too deeply.") from error


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:].rstrip(".") + "."
