"""User-defined networks, from a file or a module."""

import numpy as np
import pytest

from distlenet.config import Config
from distlenet.errors import ConfigError
from distlenet.nn import Conv2d, build_net
from distlenet.trust import Trust

GOOD = """
from distlenet.nn import Conv2d, Dense, Flatten, MaxPool2d, ReLU, Sequential

def build(input_shape, classes):
    return Sequential(input_shape, Conv2d(4, 3), ReLU(), MaxPool2d(2), Flatten(), Dense(classes))

def fixed(input_shape, classes):
    return build(input_shape, 10)

def nothing(input_shape, classes):
    pass

def wide(input_shape, classes):
    return Sequential(input_shape, Conv2d(4, 31), Flatten(), Dense(classes))

def broken(input_shape, classes):
    return 1 / 0
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "mynet.py").write_text(GOOD)
    (tmp_path / "torn.py").write_text("def build(:")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def build(model, shape=(1, 28, 28), classes=10):
    return build_net(Config(model=model), shape, classes, Trust(model))


@pytest.mark.parametrize("place", ["mynet.py", "./mynet.py", "mynet"])
@pytest.mark.parametrize(("shape", "classes"), [((1, 28, 28), 10), ((1, 20, 30), 2), ((1, 32, 32), 62)])
def test_built_for_the_dataset(folder, place, shape, classes):
    net = build(f"{place}:build", shape, classes)
    assert isinstance(net.layers[0], Conv2d)
    net.initialize("he", 1)
    assert net.forward(np.ones((*shape, 2), np.float32)).shape == (classes, 2)


def test_an_absolute_path(folder, monkeypatch):
    monkeypatch.chdir("/")
    assert build(f"{folder}/mynet.py:build").output_shape == (10,)


def test_a_file_may_import_modules_from_the_working_directory(folder):
    (folder / "parts.py").write_text("SIZE = 3")
    (folder / "uses_parts.py").write_text(GOOD + "\nimport parts\nassert parts.SIZE == 3\n")
    build("uses_parts.py:build")


@pytest.mark.parametrize(
    ("model", "shape", "says"),
    [
        ("gone.py:build", (1, 28, 28), "there is no model file .*/gone.py"),
        ("no_such_module_here:build", (1, 28, 28), "cannot load the model code no_such_module_here: ModuleNotFound"),
        ("torn.py:build", (1, 28, 28), "cannot load the model code torn.py: SyntaxError"),
        ("mynet.py:biuld", (1, 28, 28), "defines no function 'biuld' .did you mean 'build'"),
        ("mynet.py:Sequential", (1, 28, 28), "defines no function 'Sequential'"),  # imported, not defined there
        ("os:system", (1, 28, 28), "defines no function 'system'"),
        ("mynet.py:nothing", (1, 28, 28), "returned NoneType, expected a Net"),
        ("mynet.py:broken", (1, 28, 28), "model mynet.py:broken failed on .*: ZeroDivisionError: division by zero"),
        ("mynet.py:fixed", (1, 28, 28), r"to \(10,\), expected one from \(1, 28, 28\) to \(3,\)"),
        ("mynet.py:wide", (1, 28, 28), r"model mynet.py:wide: layer conv1 .Conv2d.: a 31x31 convolution"),
        (":build", (1, 28, 28), "cannot load the model code"),
        ("mynet.py:", (1, 28, 28), "defines no function ''"),
    ],
)
def test_faults_give_one_sentence(folder, model, shape, says):
    with pytest.raises(ConfigError, match=says) as caught:
        build(model, shape, 3)
    assert "\n" not in str(caught.value)


def test_a_file_without_a_function_gives_advice(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "anet.py").write_text("")
    (tmp_path / "a_folder").mkdir()
    for named, message in (
        ("anet.py", "anet.py:build"),
        ("a_folder:build", "a_folder defines no function 'build'"),
        ("missing_net:build", r"No module named 'missing_net'$"),
    ):
        with pytest.raises(ConfigError, match=message):
            build_net(Config(model=named), (1, 28, 28), 10, Trust(named))
