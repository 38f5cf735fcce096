"""The rooms of the package and their permitted imports, read from the source."""

import ast
import re
import sys
from pathlib import Path

import mpi_jobs
import pytest

PACKAGE = mpi_jobs.ROOT / "distlenet"
FLOORS = [  # a room imports only rooms above it in this list; rooms of one line do not import each other
    "errors config recipes atomic numerics own_code trust own_files handshake handlers activity bounded paths streams "
    "processes arithmetic distlenet",
    "nn data parallel",
    "pictures training",
    "runs",
    "reader scores series",
    "launching",
    "report page export bench doctor",
    "ui",
    "api events",
    "commands",
    "cli",
    "__main__",
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms.split()}
FOREIGN = {  # the files, or rooms, that may import a package; packages not named here may be imported anywhere
    "mpi4py": ("parallel/mpi",),
    "rich": ("ui/", "commands/"),
    "h5py": ("data/", "runs/", "ui/"),
    "torch": ("bench/",),
    **dict.fromkeys(("tensorflow", "jax", "onnxruntime", "openvino"), ("bench/peers/",)),
    "matplotlib": ("report/",),
    "jinja2": ("report/",),
    "PIL": ("pictures/reading.py", "data/sources/picture.py", "data/sources/picture_decoder.py"),
    "onnx": ("export/onnx_file.py", "bench/peers/onnxruntime.py"),
    "safetensors": ("export/tensor_files.py",),
    "tensorboardX": ("runs/tensorboard.py",),
    "flask": ("page/",),
    "werkzeug": ("page/",),
    "waitress": ("page/server.py",),
    "IPython": ("ui/notebook.py",),
    "pickle": (),
}
WITHOUT_NUMPY = ("errors", "config", "recipes", "cli", "__main__", "distlenet")
FILES = sorted(PACKAGE.rglob("*.py"))
TREES = {str(path.relative_to(PACKAGE)): ast.parse(path.read_text(encoding="utf-8")) for path in FILES}


def room_of(source: str) -> str:
    """Return the room of a file of the package: "nn" for nn/net.py, "config" for config.py."""
    parts = Path(source).with_suffix("").parts
    return "distlenet" if parts == ("__init__",) else parts[0]


def modules_of(tree: ast.Module) -> set[str]:
    """Return the imports of a file, including those inside functions."""
    nodes = list(ast.walk(tree))
    found = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    late = [node for node in nodes if isinstance(node, ast.ImportFrom)]
    assert not any(node.level for node in late), "a relative import hides where it points"
    return found | {f"{node.module}.{alias.name}" for node in late for alias in node.names}


def files_of(module: str) -> set[str]:
    """Return the file of the package that the import of ``module`` loads, by the names of TREES."""
    path = "/".join(module.split(".")[1:])
    parent = path.rpartition("/")[0]
    names = {f"{path}.py", f"{path}/__init__.py", f"{parent}.py", f"{parent}/__init__.py"}
    return names & TREES.keys() if module.startswith("distlenet.") else set()


MODULES = {source: modules_of(tree) for source, tree in TREES.items()}
NEEDS = {source: set().union(*map(files_of, modules)) - {source} for source, modules in MODULES.items()}


def test_imports_point_downward():
    strange = {source for source in TREES if room_of(source) not in FLOOR}
    assert not strange, f"these have no place in the order of imports: {strange}"
    for source, files in NEEDS.items():
        room = room_of(source)
        if room == "distlenet":
            continue  # it hands out the API, which it loads when that is used: see test_import_loads_nothing
        allowed = {other for other in FLOOR if other == room or FLOOR[other] < max(FLOOR[room], 1)}
        wrong = [needed for needed in files if room_of(needed) not in allowed]
        assert not wrong, f"{source}: {room} must not import {wrong}"


def test_no_import_cycles():
    needs = NEEDS
    while outside := {
        source for source in needs if not needs[source] or not any(map({source}.__and__, needs.values()))
    }:
        needs = {source: rest - outside for source, rest in needs.items() if source not in outside}
    assert not needs, f"these files import each other: {needs}"


def test_foreign_packages_stay_in_their_rooms():
    for source, modules in MODULES.items():
        packages = {module.split(".")[0] for module in modules}
        wrong = [package for package in packages & FOREIGN.keys() if not source.startswith(FOREIGN[package])]
        assert not wrong, f"{source}: {wrong} have no place there"
        assert "numpy" not in packages or room_of(source) not in WITHOUT_NUMPY, source


def test_code_rarely_depends_on_the_rank():
    places = []
    for source, tree in TREES.items():
        if room_of(source) in ("parallel", "nn", "data"):  # in the last two, a rank is an array's number of dimensions
            continue
        if source.startswith("runs/slow_"):  # these compare the figures of all ranks, on every rank alike
            continue
        for node in ast.walk(tree):
            asks = isinstance(node, ast.Attribute) and node.attr == "is_root"
            sides = [node.left, *node.comparators] if isinstance(node, ast.Compare) else []
            if asks or any("rank" in (getattr(side, "attr", ""), getattr(side, "id", "")) for side in sides):
                places.append(f"{source}:{node.lineno}")
    assert len(places) <= 3, f"root-only work is a listener that other ranks do not have: {places}"


def loaded_after(*words: object) -> set[str]:
    """Return the packages that the command line has loaded when it ends, in a separate Python."""
    program = (
        "import sys\nfrom distlenet.cli import main\ntry:\n    code = main(sys.argv[1:])\n"
        "except SystemExit as left:\n    code = left.code\n"
        "print('loaded:', *{name.split('.')[0] for name in sys.modules})\nsys.exit(code)"
    )
    done = mpi_jobs.run([sys.executable, "-c", program, *map(str, words)]).expect()
    return set(done.stdout.rpartition("loaded:")[2].split())


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"], ["evaluate", "--help"], ["draw", "--help"]])
def test_help_loads_nothing_heavy(words):
    loaded = loaded_after(*words)
    assert "distlenet" in loaded and not loaded & {"numpy", "mpi4py", "h5py", "rich", "torch", "flask"}


@pytest.mark.parametrize("options", [[], ["--debug"]])
def test_one_process_never_loads_mpi(options, digits, tmp_path):
    words = ["train", "--data", digits, "--run", tmp_path / "run", "--recipe", "fast", "--epochs", 1, *options]
    loaded = loaded_after(*words, "--display", "plain")
    assert "numpy" in loaded and not loaded & {"mpi4py", "torch"}


def test_the_rooms_are_described_file_by_file():
    tree = re.search(r"```text\n(.*?)```", (PACKAGE / "README.md").read_text(encoding="utf-8"), re.DOTALL)[1]
    described, room, folder = [], "", ""
    for line in tree.splitlines():
        indent, name = re.match(r"( *)(\w+/)?", line).groups()
        if not indent:
            room = folder = name or ""
        elif len(indent) == 4:
            folder = room + (name or "")
        described += [folder + file for file in re.findall(r"\b[a-z0-9_]+\.py\b", line)]
    files = [source for source in TREES if not source.endswith("__init__.py")]
    assert sorted(described) == sorted(files), f"only in one: {sorted(set(described) ^ set(files))}"


def test_the_diagram_shows_the_imports():
    diagram = re.search(r"```mermaid\n(.*?)```", (PACKAGE / "README.md").read_text(encoding="utf-8"), re.DOTALL)[1]
    ground = FLOORS[0].split()
    imports = {(room_of(source), room_of(needed)) for source, files in NEEDS.items() for needed in files}
    rooms = {room for room in map(room_of, TREES) if room not in (*ground, "__main__")}
    arrows = set()
    for line in re.sub(r'\[".*?"\]', "", diagram).splitlines()[1:]:
        users, used = line.split("-->")
        arrows |= {(user.strip(), used.strip()) for user in users.split("&")}
    assert {room for arrow in arrows for room in arrow} == rooms
    assert arrows <= imports, f"no import: {arrows - imports}"
