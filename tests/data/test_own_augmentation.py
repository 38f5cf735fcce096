"""User-defined augmentations: their faults are found before the first step, or at the first leaf."""

from pathlib import Path

import numpy as np
import pytest

from distlenet.config import Config
from distlenet.data.augmentation import build_augmentation
from distlenet.errors import ConfigError, OwnCodeError, UntrustedCodeError
from distlenet.trust import Trust

ERASE = f"{Path(__file__).parent.parent}/own/erase.py:erase"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def build(name, **ranges):
    return build_augmentation(Config(augmentation=name, **ranges), 20, 30, Trust(others=(name,)))


def test_the_images_depend_only_on_the_position_in_the_plan():
    own, images = build(ERASE).own, np.full((5, 20, 30), 255, np.uint8)
    found = own.apply(images.copy(), 1, 2, 3, 4)
    assert 0 < (found == 0).sum() <= 5 * 25 and set(np.unique(found)) == {0, 255}
    own.apply(images.copy(), 1, 2, 3, 0)
    np.testing.assert_array_equal(own.apply(images.copy(), 1, 2, 3, 4), found)
    for other in ((2, 2, 3, 4), (1, 0, 3, 4), (1, 2, 0, 4), (1, 2, 3, 0)):
        assert (own.apply(images.copy(), *other) != found).any()


def test_it_is_named_before_the_built_in_one():
    assert str(build(ERASE, rotate=0.0, shift=0.0, zoom=0.0)).endswith("erase.py:erase")
    assert str(build(ERASE)).endswith("erase.py:erase, rotation 12 degrees, shift 2 px, zoom 15 %")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("images[0, 0, 0] = 0", r"returned NoneType, expected uint8 \(4, 20, 30\)"),
        ("return images / 255", r"returned float64 \(4, 20, 30\), expected uint8 \(4, 20, 30\)"),
        ("return images[:, 1:]", r"returned uint8 \(4, 19, 30\), expected uint8 \(4, 20, 30\)"),
        ("return images[20]", "on 4 images of 20 x 30 pixels failed: IndexError: index 20 is out of bounds"),
        (
            "import numpy; return numpy.random.randint(0, 256, images.shape, 'uint8')",
            "gives different results for the same images",
        ),
        ("raise RuntimeError", "pixels failed: RuntimeError$"),
    ],
)
def test_at_fault(folder, body, says):
    (folder / "mine.py").write_text(f"def mine(images, random):\n    {body}\n")
    with pytest.raises(ConfigError, match=says) as caught:
        build("mine.py:mine")
    assert str(caught.value).startswith("augmentation mine.py:mine ") and "\n" not in str(caught.value)


def test_other_parameters(folder):
    (folder / "mine.py").write_text("def mine(images):\n    return images\n")
    with pytest.raises(ConfigError, match=r"takes \(images\), expected \(images, random\)"):
        build("mine.py:mine")


def test_at_fault_later(folder):
    (folder / "mine.py").write_text("def mine(images, random):\n    return images[: 4 / len(images) == 1 and 9 or 1]\n")
    own = build("mine.py:mine").own
    with pytest.raises(OwnCodeError, match=r"returned uint8 \(1, 20, 30\), expected uint8 \(5, 20, 30\)"):
        own.apply(np.zeros((5, 20, 30), np.uint8), 1, 0, 0, 0)


def test_names():
    with pytest.raises(ConfigError, match="'none' is unknown: expected built-in or FILE.py:FUNCTION .*--rotate 0"):
        build("none")
    with pytest.raises(UntrustedCodeError, match="as its augmentation"):
        build_augmentation(Config(augmentation="mine.py:mine"), 28, 28)
