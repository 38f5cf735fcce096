"""How long an answer takes, all feature maps included: python tests/page/measure.py runs/a [COUNT].

p50 and p95 in milliseconds: inside the server (its Server-Timing), for a client with one connection, in a real browser
with the same requests, and in the browser while digits are drawn on the page with pointer events.
"""

import argparse
import http.client
import json
import re
import sys
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent.parent)]

from pens import drawing, strokes_of
from served import Served

WARM = 20  # first requests that are not counted


def show(name: str, milliseconds: list[float]) -> None:
    p50, p95 = np.percentile(milliseconds, [50, 95])
    print(f"{name:34} p50 {p50:6.2f} ms   p95 {p95:6.2f} ms   of {len(milliseconds)}", flush=True)


def bodies(count: int) -> list[str]:
    drawings = [json.dumps(drawing(strokes_of(digit, size))) for digit in range(10) for size in (0.2, 0.6, 0.9)]
    return list(islice(cycle(drawings), count))


def from_a_client(url: str, count: int) -> None:
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=20)
    whole, within = [], []
    for body in bodies(WARM + count):
        start = time.perf_counter()
        connection.request("POST", "/strokes", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        json.load(response)
        whole.append(1e3 * (time.perf_counter() - start))
        within.append(sum(map(float, re.findall(r"dur=([\d.]+)", response.headers["Server-Timing"]))))
    show("in the server: read and look", within[WARM:])
    show("client, over HTTP", whole[WARM:])


def from_a_browser(url: str, count: int) -> None:
    try:
        import browser
    except ModuleNotFoundError as error:
        print(f"in a browser: not measured, {error.name} is not installed (it is in the extra dev)")
        return
    if browser.missing():
        print(browser.missing())
        return
    with tempfile.TemporaryDirectory() as profile, browser.chromium(profile) as driver:
        page = browser.Page(driver, url)
        script = """
            const times = [];
            for (const body of arguments[0]) {
                const start = performance.now();
                const options = {method: "POST", headers: {"Content-Type": "application/json"}, body};
                await (await fetch("strokes", options)).json();
                times.push(performance.now() - start);
            }
            return times;
        """
        show("browser, fetch and JSON", page.run(f"return (async () => {{{script}}})()", bodies(WARM + count))[WARM:])
        page.run("performance.setResourceTimingBufferSize(100000); performance.clearResourceTimings()")
        for digit in range(10):
            page.draw(strokes_of(digit, every=2))
            page.element("clear").click()
        asked = "performance.getEntriesByType('resource').filter(entry => entry.name.endsWith('/strokes'))"
        show("browser, while digits are drawn", page.run(f"return {asked}.map(entry => entry.duration)"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Measure how long an answer of the drawing page takes.")
    parser.add_argument("run", help="a run, a checkpoint, or: pretrained")
    parser.add_argument("count", nargs="?", type=int, default=300, help="answers (default: %(default)s)")
    args = parser.parse_args()
    run, count = args.run, args.count
    with Served(
        [
            sys.executable,
            "-m",
            "distlenet",
            "draw",
            run if run == "pretrained" else str(Path(run).resolve()),
            "--port",
            "0",
        ]
    ) as server:
        from_a_client(server.url, count)
        from_a_browser(server.url, count)
