import io

import numpy as np
import pytest
from rich.console import Console

from distlenet.ui.tables import evaluation_table

FASHION = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"]
FASHION += ["Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]


def render(what, width):
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(what)
    text = console.export_text()
    assert all(len(line) <= width for line in text.splitlines())
    return text


def matrix(classes, images):
    """All correct except 7 images of the last class, predicted as the first."""
    confusion = np.eye(classes, dtype=np.int64) * images
    confusion[-1, 0], confusion[-1, -1] = 7, images - 7
    return confusion


@pytest.mark.parametrize("names", [list("0123456789"), FASHION])
@pytest.mark.parametrize("images", [1000, 6000])
def test_ten_classes_fit_80_columns(names, images):
    text = render(evaluation_table(matrix(10, images), 0.0312, names), 80)
    assert "true \\ predicted" in text
    assert f"{10 * images - 7:,} of {10 * images:,}" in text
    assert "loss 0.0312" in text
    assert "…" not in text
    for name in names:
        assert text.count(name) >= 2
    assert text.rstrip().splitlines()[-1].split()[-1] == str(images - 7)


def test_in_40_columns_the_confusions_are_listed():
    text = render(evaluation_table(matrix(10, 1000), 0.0312, FASHION), 40)
    assert "most frequent confusions" in text
    last = text.rstrip().splitlines()[-1]
    assert "Ankle boot" in last and "T-shirt/top" in last and last.split()[-1] == "7"


def test_many_classes_list_the_confusions():
    confusion = np.full((62, 62), 3, np.int64)
    confusion[5, 6] = 99
    text = render(evaluation_table(confusion, 1.0, [f"c{i}" for i in range(62)]), 200)
    lines = text.splitlines()
    first = lines.index(next(line for line in lines if line.startswith("most frequent"))) + 2
    assert lines[first].split() == ["c5", "c6", "99"]
    assert len(lines) < 62 + 25


def test_no_images_and_foreign_names():
    text = render(evaluation_table(np.zeros((2, 2), np.int64), 0.0, ["[red]a", "\x1b[2J"]), 80)
    assert "[red]a" in text and "\x1b" not in text
    assert "0.00%" in text


def test_the_matrix_is_not_changed():
    confusion = np.full((30, 30), 2, np.int64)
    render(evaluation_table(confusion, 0.0, [str(i) for i in range(30)]), 80)
    assert (confusion == 2).all()
