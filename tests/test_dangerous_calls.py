"""The program never unpickles, evaluates, or imports by a name from a file; the exceptions are listed."""

import ast

import mpi_jobs
import pytest

PACKAGE = mpi_jobs.ROOT / "distlenet"
SOURCES = {str(path.relative_to(PACKAGE)): path for path in sorted(PACKAGE.rglob("*.py"))}
CALLS = {
    *("eval", "exec", "compile", "__import__", "import_module", "exec_module", "spec_from_file_location", "run_path"),
    *("run_module", "system", "popen", "execv", "execve", "execvp", "literal_eval", "source_to_code", "load_module"),
}
MODULES = {
    "pickle",
    "cPickle",
    "_pickle",
    "marshal",
    "shelve",
    "dill",
    "cloudpickle",
    "joblib",
    "runpy",
    "yaml",
    "code",
}
# reviewed: the names come from a table in the code, or own_code.py has admitted the code
ALLOWED = {
    ("__init__.py", "import_module"),  # a module named in its tables
    ("cli.py", "import_module"),  # a key of COMMANDS, which argparse has checked
    ("data/sources/formats.py", "import_module"),  # a module named in the table FORMATS
    ("commands/bench.py", "import_module"),  # from its table of measurements
    ("commands/launch.py", "import_module"),  # from its table of commands
    ("commands/options.py", "import_module"),  # the same, or a key of cli.COMMANDS
    ("data/sources/npz_archive.py", "literal_eval"),  # only literals, in a header of bounded length
    ("bench/peers/pytorch.py", "compile"),  # torch.compile
    ("bench/peers/child.py", "import_module"),  # from the table of peers, by the process that started it
    ("own_code.py", "import_module"),
    ("own_code.py", "spec_from_file_location"),
    ("own_code.py", "exec_module"),
    ("own_code.py", "source_to_code"),
}


def name_of(call: ast.Call) -> str:
    """Return the last part of the called name."""
    return getattr(call.func, "attr", getattr(call.func, "id", ""))


@pytest.mark.parametrize("source", SOURCES)
def test_no_file_can_run_code(source):
    for node in ast.walk(ast.parse(SOURCES[source].read_text(encoding="utf-8"))):
        where = f"{source}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Call):
            name = name_of(node)
            regular_expression = name == "compile" and getattr(getattr(node.func, "value", None), "id", "") == "re"
            fine = name not in CALLS or regular_expression or (source, name) in ALLOWED
            assert fine, f"{where}: {name} may run what a file says; see own_code.py"
            options = {option.arg: option.value for option in node.keywords}
            shell, pickles = options.get("shell"), options.get("allow_pickle")
            for option in (shell, pickles):
                assert option is None or getattr(option, "value", True) is False, f"{where}: shell or pickle"
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        for name in names:
            assert name.split(".")[0] not in MODULES, f"{where}: {name} runs what a file says"


def test_user_code_is_loaded_in_one_place():
    callers = [source for source, path in SOURCES.items() if "_import(" in path.read_text(encoding="utf-8")]
    assert callers == ["own_code.py"]
    text = SOURCES["own_code.py"].read_text(encoding="utf-8")
    assert text.count("_import(source, what)") == 1
    body = text[text.index("def load(") :]
    assert body.index("trust.admit(") < body.index("_import(source")
