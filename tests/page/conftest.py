"""Fixtures for the tests of the page: a network that reads digits well, the page's server, a browser."""

import os
import sys
from pathlib import Path

import pytest
from served import Served

from distlenet.cli import main
from distlenet.reader import Reader
from distlenet.runs.choice import find_checkpoint


@pytest.fixture(scope="session")
def reader(once):
    """A run of one epoch, on MNIST if available, else on drawn digits."""
    mnist = Path(os.environ.get("DISTLENET_MNIST", "/nowhere")).is_dir()
    source = ["mnist"] if mnist else ["synthetic", "--train", "30000", "--test", "1000"]

    def make(folder):
        folder.mkdir()
        data, run = str(folder / "digits.h5"), str(folder / "run")
        assert main(["prepare", *source, "--out", data]) == 0
        assert main(["train", "--data", data, "--run", run, "--recipe", "fast", "--epochs", "1"]) == 0

    return once("reader", make) / "run"


@pytest.fixture(scope="session")
def recognizer(reader):
    return Reader(find_checkpoint(reader))


@pytest.fixture
def client(recognizer):
    """Flask's own client: requests without a network."""
    from distlenet.page.app import create_app
    from distlenet.page.guard import Guard

    return create_app(recognizer, Guard("127.0.0.1", "127.0.0.1"), "a test").test_client()


@pytest.fixture(scope="session")
def served(reader):
    """The server of ``distlenet draw`` in a separate process."""
    with Served([sys.executable, "-m", "distlenet", "draw", str(reader), "--port", "0"]) as server:
        yield server
