import json

import numpy as np


def jsonl(place):  # the Path that --from names
    """One image in a line: {"pixels": [[0, 255, ...], ...], "label": 7}."""
    with place.open(encoding="utf-8") as file:
        found = [json.loads(line) for line in file]
    pixels, labels = ([each[key] for each in found] for key in ("pixels", "label"))
    # images (n, rows, columns) of 0 to 255 or 0 to 1, labels (n,); or x_train, y_train, x_test, y_test
    return {"images": np.array(pixels, np.uint8), "labels": np.array(labels)}
