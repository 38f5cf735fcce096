"""``distlenet repeat`` and ``distlenet compare`` as a user starts them."""

import json
import signal
import sys

import mpi_jobs
import pytest

from distlenet import cli

SHORT = ["--epochs", 1, "--batch-size", 64, "--recipe", "fast"]
FILES = ["results.json", "results.md", "results.txt"]


def hashes(run):
    summaries = [json.loads(path.read_text()) for path in sorted(run.rglob("summary.json"))]
    return [summary["theta_sha256"] for summary in summaries]


@pytest.fixture(scope="module")
def repeat(digits, distlenet):
    """``repeat(run, *options, runtime=None, ranks=1)``: a series of three short runs."""
    words = ["repeat", "-n", 3, "--data", digits, *SHORT]
    return lambda run, *options, **where: distlenet(*words, "--run", run, *options, **where)


@pytest.fixture(scope="module")
def repeated(repeat, tmp_path_factory):
    run = tmp_path_factory.mktemp("repeat") / "run"
    return run, repeat(run).expect()


def test_repeat_alone(repeated):
    run, done = repeated
    lines = done.stdout.splitlines()
    names = [f"{seed}/3 fast with epochs=1, batch_size=64 seed {seed}" for seed in (1, 2, 3)]
    assert [line for line in lines if "started" in line] == [f"{name}: started, epochs: 1" for name in names]
    assert [line.split(":")[0] for line in lines if ": test " in line] == names
    assert sorted(path.name for path in run.iterdir()) == [*FILES, "seed-1", "seed-2", "seed-3"]
    results = json.loads((run / "results.json").read_text())
    (setting,) = results["settings"].values()
    accuracies = [run["figures"]["test_accuracy"] for run in results["runs"]]
    spread = setting["figures"]["test_accuracy"]
    assert spread["mean"] == pytest.approx(sum(accuracies) / 3)
    assert (spread["least"], spread["most"], spread["count"]) == (min(accuracies), max(accuracies), 3)
    assert spread["interval"] > spread["deviation"] > 0
    promised = "seconds training_seconds validation_seconds epoch_seconds step_seconds images_per_second"
    assert set(promised.split()) <= set(setting["figures"])
    for text in (done.stdout, (run / "results.txt").read_text()):
        row = next(line for line in text.splitlines() if line.startswith("test accuracy"))
        assert f"{100 * spread['mean']:.2f} %" in row
    assert (run / "results.md").read_text().count("| ") > 50
    assert len(set(hashes(run))) == 3


def test_repeat_again_trains_nothing(repeated, repeat):
    run, first = repeated
    before = {path: path.stat().st_mtime_ns for path in run.rglob("summary.json")}
    done = repeat(run).expect()
    assert done.stdout.count("from before") == 3
    assert {path: path.stat().st_mtime_ns for path in run.rglob("summary.json")} == before
    table = first.stdout[first.stdout.index("95 % confidence") :]
    assert done.stdout.endswith(table) and "started" not in done.stdout


def test_repeat_on_ranks_gives_the_same_runs(any_mpi, repeated, repeat, tmp_path):
    done = repeat(tmp_path / "run", "--json", runtime=any_mpi, ranks=2).expect()
    assert hashes(tmp_path / "run") == hashes(repeated[0])
    assert len(json.loads(done.stdout)["runs"]) == 3  # one object, and the root alone speaks
    assert done.stderr == ""


def test_side_by_side(any_mpi, repeated, repeat, tmp_path, only_sentence):
    arguments = [tmp_path / "run", "--side-by-side"]
    done = repeat(*arguments, 2, runtime=any_mpi, ranks=3).expect()  # a team of two ranks and one of one
    assert hashes(tmp_path / "run") == hashes(repeated[0])
    ranks = [json.loads((tmp_path / f"run/seed-{seed}/summary.json").read_text())["ranks"] for seed in (1, 2, 3)]
    assert ranks == [2, 1, 2]
    assert "95 % confidence" in done.stdout
    only_sentence(repeat(*arguments, 3, runtime=any_mpi, ranks=2), 2, "there are only 2 ranks")
    (tmp_path / "run/seed-2/config.toml").write_text("epochs = 7")
    only_sentence(repeat(*arguments, 2, runtime=any_mpi, ranks=2), 6, "seed-2 holds a run with epochs = 7")


def test_an_interrupted_series_is_resumed(openmpi, repeated, digits, distlenet, tmp_path):
    run = tmp_path / "run"
    arguments = ["repeat", "-n", 3, "--data", digits, "--run", run, *SHORT]
    words = ["-m", "distlenet", *map(str, arguments)]
    with mpi_jobs.Job([sys.executable, *words], env=mpi_jobs.environment()) as job:
        mpi_jobs.wait_for((run / "seed-2/journal.jsonl").exists, job)
        job.process.send_signal(signal.SIGINT)
        done = job.finish()
    assert done.returncode == 130, done.output
    assert not (run / "seed-3").exists()
    assert [r["seed"] for r in json.loads((run / "results.json").read_text())["runs"]] == [1]
    assert "from before" in distlenet(*arguments, runtime=openmpi, ranks=2).expect().stdout.splitlines()[0]
    assert hashes(run) == hashes(repeated[0])


def test_other_settings_in_the_same_directory(repeated, repeat, only_sentence):
    only_sentence(
        repeat(repeated[0], "--lr", 0.1), 6, "seed-1 holds a run with lr = 0.14, now 0.1", "choose another --run"
    )


def test_compare(any_mpi, digits, distlenet, tmp_path):
    run = tmp_path / "run"
    items = ["poolings", "still:lr=0", "mynet.py:build"]
    (tmp_path / "mynet.py").write_text(
        "from distlenet.nn import Dense, Flatten, Sequential\n"
        "def build(input_shape, classes):\n"
        "    return Sequential(input_shape, Flatten(), Dense(classes))\n"
    )
    words = ["compare", *items, "--seeds", 2, "--data", digits, "--run", run, *SHORT]
    done = distlenet(*words, runtime=any_mpi, ranks=2, cwd=tmp_path).expect()
    results = json.loads((run / "results.json").read_text())
    rows = {name: setting["figures"] for name, setting in results["settings"].items()}
    assert list(rows) == ["average", "max", "trainable", "still", "mynet.py:build"]
    parameters = [figures["parameters"]["mean"] for figures in rows.values() if figures]
    assert parameters == [61706, 61706, 61750, 7850]
    assert results["settings"]["still"] == {"runs": 2, "defective": [1, 2], "healed": [], "heals": 0, "figures": {}}
    assert "still: defective and left out: seed 1 (at chance), seed 2 (at chance)" in done.stdout
    assert (run / "trainable/seed-2/config.toml").exists()
    for row in (run / "results.md").read_text().splitlines()[2:9]:
        assert row.count(" | ") == 8, row


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["compare", "poolin", "--run", "x"], 2, ["item 'poolin' is unknown (did you mean 'poolings'?)"]),
        (["compare", "--run", "x"], 2, ["ITEM"]),
        (["repeat", "--run", "x"], 2, ["-n"]),
        (["repeat", "-n", "0", "--run", "x"], 2, ["'0', expected a whole number of at least 1"]),
        (["compare", "a:activation=rellu", "--run", "/tmp/none", "--seeds", "1"], 3, ["did you mean 'relu'"]),
    ],
)
def test_errors_are_one_sentence(openmpi, digits, distlenet, only_sentence, tmp_path, arguments, code, words):
    arguments = [str(tmp_path / "run") if word in ("x", "/tmp/none") else word for word in arguments]
    only_sentence(distlenet(*arguments, "--data", digits), code, *words)
    only_sentence(distlenet(*arguments, "--data", digits, runtime=openmpi, ranks=2), code, *words)


def test_a_series_does_not_go_into_the_directory_of_a_run(trained, digits, capsys):
    before = sorted(trained.rglob("*"))
    assert cli.main(["repeat", "-n", "1", "--data", str(digits), "--run", str(trained)]) == 6
    assert "is not the directory of a series" in capsys.readouterr().err
    assert sorted(trained.rglob("*")) == before
