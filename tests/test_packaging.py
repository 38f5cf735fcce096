"""The wheel and the source distribution: what they hold, and that an installed wheel works away from the checkout."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import drawn
import mpi_jobs
import pytest

pytest.importorskip("build", reason="there is no build: it is in the extra dev")

ROOT = mpi_jobs.ROOT
FOLDERS = (".ci", ".github", "distlenet", "scripts", "tests")
FILES = ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff", "datasets/README.md")
DEAD = shutil.ignore_patterns("__pycache__", "*.egg-info", "*.part")


def python(*words: object, cwd: Path, **variables: str) -> str:
    """Return what ``python WORDS`` prints; neither the checkout nor the tests are on its path."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-P", *map(str, words)],
        cwd=cwd,
        env=environment | variables,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> Path:
    """A copy of the checkout: a build leaves its folders in it."""
    copy = tmp_path_factory.mktemp("sources")
    for name in FOLDERS:
        shutil.copytree(ROOT / name, copy / name, ignore=DEAD)
    for name in (*FILES, ".editorconfig", ".pre-commit-config.yaml", ".gitignore"):
        (copy / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, copy / name)
    return copy


@pytest.fixture(scope="module")
def built(sources) -> Path:
    """The folder with the source distribution, and the wheel that is made of it."""
    python("-m", "build", "--no-isolation", sources, cwd=sources.parent)
    return sources / "dist"


@pytest.fixture(scope="module")
def wheel(built) -> Path:
    return next(built.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """A folder for PYTHONPATH with the wheel alone; what it needs comes from the present environment."""
    folder = tmp_path_factory.mktemp("installed")
    python("-m", "pip", "install", "--no-deps", "--no-index", "--quiet", "--target", folder, wheel, cwd=folder)
    return folder


def contents(wheel: Path) -> dict[str, bytes]:
    """Return the files of the package and of its metadata, but the list of them, whose order is not fixed."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("RECORD")}


def test_the_wheel_holds_the_package_alone(wheel):
    """With templates, the packaged network and py.typed; without READMEs, tests and leftovers."""
    package = ROOT / "distlenet"
    expected = {
        path.relative_to(ROOT).as_posix()
        for path in package.rglob("*")
        if path.is_file() and path.suffix not in (".pyc", ".md")
    }
    found = {name for name in contents(wheel) if ".dist-info/" not in name}
    assert found == expected
    assert {"distlenet/pretrained.h5", "distlenet/py.typed", "distlenet/page/templates/draw.html"} <= found


def test_the_source_distribution_is_the_checkout(built, sources):
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames() if archive.getmember(name).isfile()}
    expected = {path.relative_to(sources).as_posix() for name in FOLDERS for path in (sources / name).rglob("*")}
    expected = {name for name in expected if (ROOT / name).is_file() and not name.endswith(".pyc")}
    assert expected | set(FILES) <= names
    assert names - expected - set(FILES) == {"PKG-INFO", ".editorconfig", ".pre-commit-config.yaml", ".gitignore"}


def test_the_checkout_gives_the_same_wheel(wheel, sources, tmp_path):
    python("-m", "build", "--no-isolation", "--wheel", "--outdir", tmp_path, sources, cwd=tmp_path)
    assert contents(next(tmp_path.glob("*.whl"))) == contents(wheel)


def test_the_metadata_names_no_address(wheel):
    metadata = next(text for name, text in contents(wheel).items() if name.endswith("METADATA")).decode()
    header = metadata.partition("\n\n")[0]
    assert "License-Expression: MIT" in header
    assert "Classifier: Typing :: Typed" in header
    assert not re.search(r"^(Home-page|Project-URL|Author-email|Maintainer-email):", header, re.MULTILINE)


def test_an_installed_wheel_works(installed, tmp_path):
    """Version, a short run, its report, and the packaged network."""
    pytest.importorskip("matplotlib")
    drawn.write(tmp_path / "digits.h5", 700, 200)
    own = {"PYTHONPATH": str(installed)}
    where = python("-c", "import distlenet; print(distlenet.__file__)", cwd=tmp_path, **own)
    assert Path(where.strip()).is_relative_to(installed)
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert python(installed / "bin/distlenet", "--version", cwd=tmp_path, **own) == f"distlenet {version}\n"
    command = ("-m", "distlenet")
    train = ["train", "--data", "digits.h5", "--run", "run", "--recipe", "fast", "--epochs", 1, "--display", "plain"]
    python(*command, *train, cwd=tmp_path, **own)
    python(*command, "report", "run", "--data", "digits.h5", cwd=tmp_path, **own)
    assert (tmp_path / "run/report/report.html").stat().st_size > 10_000
    assert "mnist" in python(*command, "inspect", "pretrained", cwd=tmp_path, **own).lower()


def test_the_workflow_tests_the_versions_that_the_metadata_names():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = re.findall(r"Python :: (3\.\d+)", "\n".join(project["classifiers"]))
    workflow = (ROOT / ".github/workflows/test.yml").read_text(encoding="utf-8")
    assert re.findall(r'"(3\.\d+)"', workflow) == named
    assert project["requires-python"] == f">={named[0]}"
    assert "run: .ci/run" in workflow
