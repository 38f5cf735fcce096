"""``distlenet journal``: the tables that a spreadsheet reads."""

import csv
import io
import json
import shutil

import pytest
from sessions import stop_after, train_run

from distlenet.cli import main

FLAGS = {"epochs": 2, "batch_size": 64}


def table(text):
    """Return the rows of CSV by column name: numbers, None for empty cells."""
    assert text.endswith("\r\n") and '"' not in text
    rows = list(csv.reader(io.StringIO(text)))
    assert len({len(row) for row in rows}) == 1
    return [
        {name: None if cell == "" else float(cell) for name, cell in zip(rows[0], row, strict=True)} for row in rows[1:]
    ]


@pytest.fixture(scope="module")
def finished(digits, tmp_path_factory):
    session = train_run(digits, tmp_path_factory.mktemp("runs") / "run", flags=FLAGS, log_every=2)
    assert session.code == 0
    return session.run


def journal(run, kind):
    lines = [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


def test_epochs(finished, tmp_path, capsys):
    file = tmp_path / "epochs.csv"
    assert main(["journal", str(finished), "--csv", str(file)]) == 0
    assert capsys.readouterr().out == f"wrote {file}: 2 epochs of {finished}\n"
    rows = table(file.read_bytes().decode())
    assert [row["epoch"] for row in rows] == [1, 2]
    for row, line in zip(rows, journal(finished, "epoch"), strict=True):
        assert row["steps"] == line["step"] and row["images"] == 642
        for split in ("running", "train", "validation"):
            for figure in ("loss", "accuracy"):
                assert row[f"{split}_{figure}"] == line[split][figure]  # all digits
        assert row["test_loss"] is None and row["test_accuracy"] is None
        for name, key in (("learning_rate", "lr"), ("training_seconds", "seconds"), ("exchange_share",) * 2):
            assert row[name] == line[key]


def test_steps_to_the_standard_output(finished, distlenet):
    out = distlenet("journal", finished, "--steps", "--csv", "-").expect().stdout
    rows = table(out)
    assert [row["steps"] for row in rows] == list(range(2, 23, 2))
    assert [row["epoch"] for row in rows] == [1] * 5 + [2] * 6
    assert [row["loss"] for row in rows] == [line["loss"] for line in journal(finished, "step")]
    assert out.splitlines()[1].split(",")[:2] == ["1", "2"]  # whole numbers are written as such


def test_a_resumed_run_has_every_row_once(finished, digits, tmp_path, distlenet):
    run = tmp_path / "run"
    assert train_run(digits, run, act=stop_after(16), flags=FLAGS, log_every=2).code == 130
    (run / "checkpoints" / "last.h5").unlink()  # from the end of the first epoch on
    assert train_run(digits, run, log_every=2, resume="auto").code == 0
    tables = []
    for path in (finished, run):
        for words in ([], ["--steps"]):
            rows = table(distlenet("journal", path, "--csv", "-", *words).expect().stdout)
            tables.append([[row["epoch"], row["steps"], row["learning_rate"]] for row in rows])
    assert tables[:2] == tables[2:]


def test_the_terminal(finished, distlenet):
    head, *rows = distlenet("journal", finished).expect().stdout.splitlines()[-3:]
    assert "accuracy" in head and [row.split()[0] for row in rows] == ["1", "2"]
    lines = distlenet("journal", finished, "--steps").expect().stdout.splitlines()
    assert len(lines) == 2 + 11  # a head of two lines


def test_damage_is_reported(finished, tmp_path, distlenet, only_sentence):
    only_sentence(distlenet("journal", tmp_path), 6, "expected the --run of `distlenet train`")
    (tmp_path / "file").write_text("")
    only_sentence(distlenet("journal", finished, "--csv", tmp_path / "file" / "x.csv"), 6, "cannot write")
    damaged = shutil.copytree(finished, tmp_path / "damaged") / "journal.jsonl"
    damaged.write_text(damaged.read_text() + '{"kind": "epo')
    done = distlenet("journal", tmp_path / "damaged", "--csv", "-").expect()
    assert len(table(done.stdout)) == 2 and "1 damaged line: left out" in done.stderr
    damaged.write_text("")
    assert table(distlenet("journal", tmp_path / "damaged", "--csv", "-").expect().stdout) == []
