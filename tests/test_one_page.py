"""scripts/one_page.py, written from the specification of portable arithmetic, ends with the same bits as distlenet."""

import ast
import json

import mpi_jobs
import pytest

from distlenet.doctor.known import KNOWN
from distlenet.recipes import build_config

PAGE = mpi_jobs.ROOT / "scripts/one_page.py"
PLAIN = ["--seed", "3", "--batch-size", "66", "--shards", "3", "--clip", "0"]
MOVED = ["--epochs", "2", "--batch-size", "128", "--rotate", "20", "--shift", "3", "--zoom", "0.3", "--lr", "0.02"]


def last_line(done: mpi_jobs.Finished) -> list[str]:
    return done.expect().stdout.splitlines()[-1].split()


def test_it_is_one_page_and_independent():
    source = PAGE.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= 200 and max(map(len, source.splitlines())) <= 120
    nodes = list(ast.walk(ast.parse(source)))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom)]
    assert set(names) == {"argparse", "collections.abc", "h5py", "hashlib", "math", "mpi4py", "numpy"}


def test_its_settings_are_those_of_the_recipe_fast():
    node = next(node for node in ast.walk(ast.parse(PAGE.read_text())) if isinstance(node, ast.Dict))
    settings, fast = ast.literal_eval(node), build_config("fast").to_dict()
    assert settings == {name: fast[name] for name in settings} | {"epochs": 1}


@pytest.mark.parametrize(("ranks", "words"), [(1, MOVED), (2, MOVED), (3, PLAIN)])
def test_it_ends_with_the_same_bits(ranks, words, openmpi, digits, distlenet, tmp_path):
    run = ["--run", tmp_path / "run", "--numerics", "portable", "--recipe", "fast", "--epochs", 1, "--display", "quiet"]
    distlenet("train", "--data", digits, *run, *words, runtime=openmpi if ranks > 1 else None, ranks=ranks).expect()
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    page = mpi_jobs.run(openmpi.command(ranks, str(PAGE), str(digits), *words))
    assert last_line(page) == ["theta_sha256", summary["theta_sha256"]]


def test_it_ends_with_the_known_bits(any_mpi, distlenet, tmp_path):
    distlenet("prepare", "synthetic", "--train", 1280, "--test", 100, "--out", tmp_path / "digits.h5").expect()
    words = ["--batch-size", "64", "--shards", "4", "--validation", "0", "--weight-decay", "5e-4"]
    words += ["--rotate", "12", "--shift", "2", "--zoom", "0.15"]
    page = mpi_jobs.run(any_mpi.command(2, str(PAGE), str(tmp_path / "digits.h5"), *words))
    assert last_line(page) == ["theta_sha256", KNOWN]


def test_it_ends_with_the_known_bits_of_mnist(request, openmpi, mnist):
    if not request.config.getoption("soak"):
        pytest.skip("a soak test: it takes a minute")
    known = "f0d5a8f65e57c6d89e43fc609bcf1f6db5ef9e396e1988b33b43e6a32bd53be6"
    page = mpi_jobs.run(openmpi.command(2, str(PAGE), str(mnist)), timeout=600)
    assert last_line(page) == ["theta_sha256", known]
