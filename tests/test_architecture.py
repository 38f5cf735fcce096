"""The rooms of the package and who may import whom, read from the source."""

import ast
import sys
import tomllib
from functools import cache
from pathlib import Path

import mpi_jobs
import pytest

PACKAGE = mpi_jobs.ROOT / "distlenet"
FLOORS = [  # a room imports only rooms above it in this list; rooms of one line do not know each other
    "errors config atomic numerics own_code handshake handlers activity bounded paths streams processes distlenet",
    "nn data parallel",
    "pictures training",
    "runs",
    "reader series",
    "launching",
    "report page export bench doctor",
    "ui",
    "api",
    "commands",
    "cli",
    "__main__",
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms.split()}
SOURCES = {str(path.relative_to(PACKAGE)): path for path in sorted(PACKAGE.rglob("*.py"))}


def room_of(source: str) -> str:
    """Return the room of a file of the package: "nn" for nn/net.py, "config" for config.py."""
    parts = Path(source).with_suffix("").parts
    return "distlenet" if parts == ("__init__",) else parts[0]


@cache
def imports(source: str) -> list[tuple[int, str]]:
    """Return (line, module) of every import of a file, late ones and relative ones included."""
    found = []
    for node in ast.walk(ast.parse(SOURCES[source].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{source}:{node.lineno}: a relative import hides where it points"
            found += [(node.lineno, f"{node.module}.{alias.name}") for alias in node.names]
    return found


@cache
def files_imported(source: str) -> set[str]:
    """Return the files of the package that a file imports, by the names of SOURCES."""
    found = set()
    for _, module in imports(source):
        path = "/".join(module.split(".")[1:])
        parent = path.rpartition("/")[0]
        names = (f"{path}.py", f"{path}/__init__.py", f"{parent}.py", f"{parent}/__init__.py")
        found |= {name for name in names if name in SOURCES and module.startswith("distlenet.")}
    return found


@pytest.mark.parametrize("source", SOURCES)
def test_imports_point_downward(source):
    room = room_of(source)
    assert room in FLOOR, f"{source}: the room {room} has no place in the order of imports"
    for imported in files_imported(source):
        target = room_of(imported)
        allowed = target == room or FLOOR[target] < FLOOR[room] or FLOOR[target] == FLOOR[room] == 0
        assert allowed, f"{source}: {room} must not import {target} ({imported})"


def test_no_circles_between_files():
    needs = {source: files_imported(source) - {source} for source in SOURCES}
    while outside := {
        source for source in needs if not needs[source] or not any(map({source}.__and__, needs.values()))
    }:
        needs = {source: rest - outside for source, rest in needs.items() if source not in outside}
    assert not needs, f"these files import each other: {needs}"


@pytest.mark.parametrize("source", SOURCES)
def test_foreign_packages_stay_in_their_rooms(source):
    room = room_of(source)
    allowed = {
        "mpi4py": source.startswith("parallel/mpi"),
        "rich": room in ("ui", "commands"),
        "h5py": room in ("data", "runs", "ui"),
        "numpy": room not in ("errors", "config", "cli", "__main__", "distlenet"),
        "torch": room == "bench",
        "matplotlib": room == "report",
        "jinja2": room == "report",
        "PIL": source in ("pictures/reading.py", "data/sources/picture.py", "data/sources/picture_decoder.py"),
        "onnx": source == "export/onnx_file.py",
        "safetensors": source == "export/tensor_files.py",
        "tensorboardX": source == "runs/tensorboard.py",
        "flask": room == "page",
        "werkzeug": room == "page",
        "waitress": source == "page/server.py",
        "pickle": False,
    }
    for line, module in imports(source):
        package = module.split(".")[0]
        assert allowed.get(package, True), f"{source}:{line}: {package} has no place in {room}"


def test_ranks_are_rarely_told_apart():
    places = []
    for source, path in SOURCES.items():
        if room_of(source) in ("parallel", "nn", "data"):  # the latter know of no ranks but an array's
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            asks = isinstance(node, ast.Attribute) and node.attr == "is_root"
            compares = isinstance(node, ast.Compare) and any(
                getattr(side, "attr", getattr(side, "id", None)) == "rank" for side in [node.left, *node.comparators]
            )
            if asks or compares:
                places.append(f"{source}:{node.lineno}")
    assert len(places) <= 5, f"root-only work is a listener that other ranks do not have: {places}"


def test_every_file_but_programs_is_package_data():
    """``py.typed`` too, which tells type checkers that the package has types."""
    settings = tomllib.loads((mpi_jobs.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    patterns = [(room, pattern) for room, patterns in settings["package-data"].items() for pattern in patterns]
    packed = {path for room, pattern in patterns for path in mpi_jobs.ROOT.joinpath(*room.split(".")).glob(pattern)}
    files = {path for path in PACKAGE.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc", ".md")}
    assert files == packed and PACKAGE / "py.typed" in packed


def loaded_after(program: str) -> set[str]:
    """Return the packages that are loaded when ``program`` is done, in a Python of its own."""
    end = "\nimport sys\nprint('loaded:', *{name.split('.')[0] for name in sys.modules})"
    done = mpi_jobs.run([sys.executable, "-c", program + end])
    assert done.returncode == 0, done.output
    return set(done.stdout.rpartition("loaded:")[2].split())


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["evaluate", "--help"], ["draw", "--help"]])
def test_help_loads_nothing_heavy(arguments):
    program = (
        "from distlenet.cli import main\n"
        "try:\n"
        f"    main({arguments})\n"
        "except SystemExit as left:\n"
        "    assert left.code == 0\n"
    )
    loaded = loaded_after(program)
    assert "distlenet" in loaded
    assert not loaded & {"numpy", "mpi4py", "h5py", "rich", "torch", "flask"}


@pytest.mark.parametrize("options", [[], ["--debug"]])
def test_one_process_never_loads_mpi(options, digits, tmp_path):
    arguments = ["train", "--data", str(digits), "--run", str(tmp_path / "run"), "--recipe", "fast"]
    arguments += ["--epochs", "1", "--display", "plain", *options]
    loaded = loaded_after(f"from distlenet.cli import main\nassert main({arguments}) == 0")
    assert "numpy" in loaded
    assert not loaded & {"mpi4py", "torch"}
