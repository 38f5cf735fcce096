"""Untrusted files are read within bounds, or refused in one sentence."""

import json
import os
import resource

import pytest

from distlenet import bounded
from distlenet.data.file.hdf5 import SIGNATURE, ForeignError, open_hdf5
from distlenet.errors import ConfigError
from distlenet.recipes import build_config
from distlenet.runs.record import number, read_lines
from distlenet.series.outcome import read_outcome

GOOD = "epochs = 3\n"


@pytest.mark.parametrize("head", ["", "\ufeff"])
def test_toml_with_or_without_a_byte_order_mark(tmp_path, head):
    (tmp_path / "own.toml").write_text(head + GOOD, encoding="utf-8")
    assert build_config(file=tmp_path / "own.toml").epochs == 3


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (GOOD.encode("utf-16"), "UTF-16, expected UTF-8: save it as UTF-8"),
        (GOOD.encode("utf-16-le"), "NUL bytes"),
        (GOOD.encode() + b"\0", "NUL bytes"),
        (b"\xff\xfe\x00", "not valid TOML"),
        ('model = "\xfc"'.encode("latin-1"), "byte 9 is not UTF-8"),
        (b"epochs = " + b"[" * 1500, "nested too deeply"),
        (b"epochs = " + b"[" * 200 + b"]" * 200, "nested too deeply"),
        (b"epochs = [\n" + b"[\n" * 20_000, "nested too deeply"),
        (b"epochs = {a=" * 150, "not valid TOML"),
        (b"a." * 20_000 + b"a = 1", "line 1 has 40,005 characters"),
        (b"[" + b"a." * 900 + b"a]", "nested too deeply"),
        (b"# " + b"x" * 100_000, "more than 65,536 bytes"),
        (b"epochs = " + b"9" * 500, "epochs is 9{40}, expected a number of at most 19 digits"),
        (b"lr = " + b"9" * 500, "lr is 9{40}, expected"),
        (b"lr = nan", "lr is nan"),
        (b"epochs = 1979-05-27", "epochs is datetime.date"),
        (b"model = ['x']", "model is .*, expected text"),
        (b"recipe = {a = 1}", "recipe .* is unknown"),
    ],
)
def test_invalid_toml(tmp_path, content, says):
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=says) as caught:
        build_config(file=path)
    assert "\n" not in str(caught.value)


def test_paths_that_are_not_files(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, "/dev/zero", tmp_path / "none"):
        with pytest.raises(ConfigError, match="cannot read the configuration"):
            build_config(file=path)


def test_a_journal_of_arbitrary_lines(tmp_path):
    path = tmp_path / "journal.jsonl"
    good = {"kind": "step", "steps": 1}
    with path.open("wb") as file:
        nested = b'{"kind": "step", "more": ' + b"[" * 500 + b"]" * 500 + b"}"
        for line in (b"[" * 100_000, b"9" * 5000, nested, b"\xff"):
            file.write(line + b"\n")
        file.write(b"[" + b" " * 30_000_000 + b"]\n")
        file.write(json.dumps(good).encode() + b"\n")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert read_lines(path) == ([good], [f"{path} has 5 damaged lines: left out"])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # KiB


@pytest.mark.parametrize("value", [10**400, float("nan"), float("inf"), "1", None, True, [1], {"a": 1}])
def test_values_that_are_not_numbers(value):
    assert number({"a": value}, "a") is None


@pytest.mark.parametrize("strange", ["x", [1], {"a": 1}, None, True, float("nan"), 10**400])
def test_a_summary_and_a_journal_of_wrong_types(tmp_path, strange):
    names = ("test_accuracy", "test_error", "val_accuracy", "parameters", "test_chance", "failure", "divergences")
    (tmp_path / "summary.json").write_text(json.dumps({"status": "complete", **dict.fromkeys(names, strange)}))
    epoch = {"kind": "epoch", "steps": 1, "epoch": strange, "running": strange, "images_per_second": strange}
    (tmp_path / "journal.jsonl").write_text(json.dumps(epoch) + "\n" + json.dumps(epoch | {"running": {"count": 1}}))
    outcome = read_outcome("a", 1, str(tmp_path))
    assert outcome is None or outcome.figures == {}


def test_lines_are_whole(tmp_path):
    path = tmp_path / "lines"
    path.write_bytes(b"one\n" + b"x" * 20 + b"\n" + b"y" * 8 + b"\r\nlast")
    assert list(bounded.lines(path, longest=10)) == ["one", None, "y" * 8, "last"]


def test_a_journal_with_too_many_lines(tmp_path):
    path = tmp_path / "journal.jsonl"
    step, epoch, notice = (f'{{"kind": "{kind}", "steps": 1}}\n' for kind in ("step", "epoch", "notice"))
    most = {"step": 5, "epoch": 4, "other": 3}
    path.write_text(step * 5 + epoch * 4 + notice * 3)
    assert len(read_lines(path, most=most)[0]) == 12 and len(read_lines(path, steps=False, most=most)[0]) == 7
    for one_more, says in (
        (step, "5 lines of kind step"),
        (epoch, "4 lines of kind epoch"),
        (notice, "3 lines of kind other"),
    ):
        path.write_text(step * 5 + epoch * 4 + notice * 3 + one_more)
        with pytest.raises(OSError, match=f"it has more than {says}"):
            read_lines(path, most=most)
    with pytest.raises(OSError, match="more than 7 lines"):
        list(bounded.lines(path, most=7))
    with path.open("r+b") as file:
        file.truncate(bounded.MOST_BYTES + 1)
    with pytest.raises(OSError, match="more than 268,435,456 bytes"):
        read_lines(path)


def test_unknown_parts_of_a_line_are_dropped(tmp_path):
    path = tmp_path / "journal.jsonl"
    line = {"kind": "start", "steps": 10**30, "facts": dict.fromkeys(map(str, range(100)), "x" * 3000), "more": [[]]}
    path.write_text(json.dumps(line | {"loss": [[]] * 1000, "running": {"loss": 1.0, "deep": {"a": {}}}}))
    ((found,), _) = read_lines(path)
    assert found.keys() == {"kind", "steps", "facts", "loss", "running"}
    assert found["loss"] is None and found["running"] == {"loss": 1.0, "deep": None} and number(found, "steps") is None
    assert len(found["facts"]) == 80 and len(found["facts"]["0"]) == 2000


def test_a_sparse_file(tmp_path):
    path = tmp_path / "last.h5"
    path.write_bytes(SIGNATURE)
    with path.open("r+b") as file:
        file.truncate(2**40)
    with pytest.raises(ForeignError, match=r"claims 1,099,511,627,776 bytes, but only [\d,]+ are on disk"):
        open_hdf5(path)


@pytest.mark.parametrize("part", ["[],", '{"":1},'])
@pytest.mark.parametrize("kind", [str, str.encode])
def test_json_of_a_million_small_parts(part, kind):
    with pytest.raises(ValueError, match=r"it has 1,100,001 lists and objects, expected at most 1,000,000"):
        bounded.parse_json(kind(f"[{part * 1_100_000}1]"))
    assert len(bounded.parse_json(kind(f"[{part * 100_000}1]"))) == 100_001
