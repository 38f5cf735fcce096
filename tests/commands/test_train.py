"""``distlenet train`` as a user starts it: what it writes, and one sentence for whatever is wrong."""

import json
import shutil
import tomllib

import drawn
import h5py
import numpy as np
import pytest

from distlenet.config import Config
from distlenet.data.sources.drawing import draw_digits
from distlenet.runs.checkpoint_file import read_checkpoint

SHORT = ["--epochs", "1", "--batch-size", "64", "--display", "plain"]


@pytest.fixture
def run(tmp_path):
    return tmp_path / "run"


@pytest.fixture
def copied(trained, run):
    """A copy of the short run, to be changed."""
    return shutil.copytree(trained, run)


@pytest.fixture
def train(digits, run, distlenet):
    """``train(*options, runtime=None, ranks=1)``: a short training in ``run``; the last of equal options counts."""
    words = ["train", "--data", digits, "--run", run, *SHORT]
    return lambda *options, **where: distlenet(*words, *options, **where)


def edited(digits, path, edit):
    """Copy the dataset to ``path`` and change it."""
    shutil.copy(digits, path)
    with h5py.File(path, "r+") as file:
        edit(file)
    return path


def test_what_a_run_leaves(trained, summary_of):
    names = sorted(str(path.relative_to(trained)) for path in trained.rglob("*") if path.is_file())
    names.remove("checkpoints/last-1.h5")
    assert names == [
        "checkpoints/best.h5",
        "checkpoints/last.h5",
        "config.toml",
        "journal.jsonl",
        "lock",
        "summary.json",
    ]
    summary = summary_of(trained)
    promised = "test_accuracy test_error val_accuracy epochs steps ranks seconds images_per_second theta_sha256 status"
    assert set(promised.split()) <= set(summary)
    assert (summary["status"], summary["epochs"], summary["ranks"]) == ("complete", 2, 1)
    assert summary["test_accuracy"] + summary["test_error"] == 1
    checkpoint = read_checkpoint(trained / "checkpoints/last.h5")
    assert tomllib.loads((trained / "config.toml").read_text()) == checkpoint.config.to_dict()
    assert checkpoint.config == Config(epochs=2, batch_size=64)
    assert (checkpoint.progress.epoch, checkpoint.progress.step, checkpoint.progress.steps) == (2, 0, 22)


def test_kept_checkpoints(train, run):
    train("--epochs", 5, "--keep-every", 2).expect()
    kept = {path.name: read_checkpoint(path).progress.epoch for path in (run / "checkpoints").iterdir()}
    del kept["best.h5"]
    assert kept == {"epoch-0002.h5": 2, "epoch-0004.h5": 4, "last-1.h5": 4, "last.h5": 5}


def test_no_epochs(train, run, summary_of):
    train("--epochs", 0).expect()
    assert summary_of(run)["steps"] == 0


@pytest.mark.parametrize("display", ["plain", "auto", "quiet"])
def test_no_escape_codes_in_a_file(any_mpi, display, train, tmp_path):
    alone = train("--display", display).expect()
    several = train("--display", display, "--run", tmp_path / "several", runtime=any_mpi, ranks=2).expect()
    for done in (alone, several):
        assert "\x1b" not in done.output
        assert "\r" not in done.output
        assert done.output.count("theta_sha256=") == 1  # the root alone speaks
    assert several.stderr == ""


def test_existing_run(any_mpi, copied, train, only_sentence, summary_of):
    def contents():
        return {path: path.read_bytes() for path in copied.rglob("*") if path.is_file() and path.name != "lock"}

    before = contents()
    refused = train(runtime=any_mpi, ranks=2)
    only_sentence(refused, 6, "already holds a run", "--resume auto", "--overwrite")
    assert contents() == before
    (copied / "notes.txt").write_text("mine")
    train("--overwrite").expect()
    assert (copied / "notes.txt").read_text() == "mine"
    assert summary_of(copied)["epochs"] == 1


def test_resume_of_a_complete_run_changes_nothing(trained, copied, train, summary_of):
    train("--epochs", 2, "--resume", "auto").expect()
    for key in ("theta_sha256", "test_accuracy", "test_loss", "val_accuracy", "steps"):
        assert summary_of(copied)[key] == summary_of(trained)[key]


def test_resume_of_nothing_starts(train, run, summary_of, trained):
    train("--epochs", 2, "--resume").expect()
    assert summary_of(run)["theta_sha256"] == summary_of(trained)["theta_sha256"]


def test_resume_skips_a_torn_file(copied, train):
    last = copied / "checkpoints/last.h5"
    last.write_bytes(last.read_bytes()[:5000])
    assert "skipped" in train("--epochs", 2, "--resume", "auto").expect().output


def test_several_ranks_read_only_good_shards(any_mpi, train, run, tmp_path, only_sentence):
    # rank 1 alone has the damaged rows in its shards; both end cleanly
    whole = drawn.write(tmp_path / "whole.h5", 2400)
    path = edited(whole, tmp_path / "damaged.h5", lambda file: file["train/images"].__setitem__((2050, 3, 3), 99))
    done = train("--data", path, runtime=any_mpi, ranks=2)
    only_sentence(done, 4, "rows 2,000 to 2,399 of /train do not match their SHA-256")
    assert not run.exists()


def bad_files(digits, folder):
    """Return datasets that cannot be used, each with its error."""
    image = digits.read_bytes()
    (folder / "torn.h5").write_bytes(image[: len(image) // 2])
    (folder / "text.h5").write_text("not HDF5 at all")
    (folder / "empty.h5").write_bytes(b"")
    with h5py.File(folder / "foreign.h5", "w") as file:
        file["x"] = np.zeros(3)
    with h5py.File(folder / "nan.h5", "w") as file:
        file["train/images"] = np.full((5, 28, 28), np.nan, np.float32)
        for name in ("train/labels", "test/images", "test/labels", "train/sha256", "test/sha256"):
            file[name] = np.zeros(5, np.uint8)

    def no_test_images(file):
        for part in ("images", "labels", "sha256"):
            old = file[f"test/{part}"][:0]
            del file[f"test/{part}"]
            file[f"test/{part}"] = old

    edited(digits, folder / "old.h5", lambda file: file.attrs.__setitem__("format_version", np.int64(0)))
    edited(digits, folder / "labels.h5", lambda file: file["train/labels"].__setitem__(7, 10))
    edited(digits, folder / "split.h5", no_test_images)
    return {
        "none.h5": "there is no dataset",
        "torn.h5": "is cut off",
        "text.h5": "is not HDF5",
        "empty.h5": "is empty",
        "foreign.h5": "is an HDF5 file of another kind",
        "nan.h5": "NaN",
        "old.h5": "has an older format (0, expected 1)",
        "labels.h5": "do not match their SHA-256",
        "split.h5": "the split test is empty",
    }


def test_bad_datasets(digits, train, run, tmp_path, only_sentence):
    for name, words in bad_files(digits, tmp_path).items():
        only_sentence(train("--data", tmp_path / name), 4, words, name)
        assert not run.exists()


def test_tiny_images(train, run, tmp_path, only_sentence):
    images, labels = draw_digits(40, 1)
    path = drawn.write(tmp_path / "tiny.h5", (np.ascontiguousarray(images[:, 10:16, 10:16]), labels))
    only_sentence(train("--data", path), 3, "does not fit into")
    assert not run.exists()


def test_other_sizes_are_trained(other_size, train, run, summary_of):
    train("--data", other_size, "--batch-size", 16).expect()
    assert summary_of(run)["parameters"] != 61706


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--batch-size", "100"], 3, ["batch_size 100 is not divisible by 8 shards", "96 or 104"]),
        (["--recipe", "fst"], 3, ["recipe 'fst' is unknown", "did you mean 'fast'"]),
        (["--optimizer", "nestrov"], 3, ["optimizer 'nestrov' is unknown", "did you mean 'nesterov'"]),
        (["--schedule", "cosin"], 3, ["did you mean 'cosine'"]),
        (["--model", "lenet"], 3, ["did you mean 'lenet5'"]),
        (["--activation", "relo"], 3, ["did you mean 'relu'"]),
        (["--pooling", "maximum"], 3, ["pooling 'maximum' is unknown"]),
        (["--init", "hee"], 3, ["did you mean 'he'"]),
        (["--validation", "700"], 3, ["700 of 700 training images are held back"]),
        (["--shards", "1000", "--batch-size", "1000"], 3, ["642 for 1000 shards"]),
        (["--lr", "-1"], 3, ["lr is -1.0"]),
        (["--epochs", "-3"], 3, ["epochs is -3"]),
        (["--log-every", "0"], 2, ["--log-every"]),
        (["--keep-every", "-1"], 2, ["--keep-every"]),
        (["--config", "/nowhere/a.toml"], 3, ["cannot read the configuration /nowhere/a.toml"]),
        (["--resume", "/nowhere/last.h5"], 5, ["there is no checkpoint /nowhere/last.h5"]),
        (["--epoch-count", "3"], 2, ["unrecognized arguments: --epoch-count"]),
    ],
)
def test_bad_options(options, code, words, train, tmp_path, only_sentence):
    only_sentence(train(*options), code, *words)
    assert not list(tmp_path.rglob("*.h5"))


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ([], 0, []),
        (["--batch-size", "100"], 3, ["is not divisible by 8 shards"]),
        (["--checkpoint-every", "often"], 2, ["--checkpoint-every: 'often', expected a number of steps"]),
        (["--epoochs", "3"], 2, ["did you mean '--epochs'"]),
    ],
)
def test_only_checked(options, code, words, run, distlenet):
    done = distlenet("train", "--data", "/nowhere.h5", "--run", run, "--check", *options)
    assert done.returncode == code, done.output
    assert all(word in done.stderr for word in words) and done.stdout == ""
    assert not run.exists()


def test_a_resumed_run_is_checked_with_its_own_settings(train, run, distlenet):
    train("--batch-size", 300, "--shards", 3)
    words = ["train", "--run", run, "--check", "--resume"]
    assert distlenet(*words, "--shards", 3).returncode == 0
    assert distlenet(*words, "--shards", 7).returncode == 3
    assert distlenet(*words, "--override", "shardz").returncode == 3


def test_bad_toml(train, tmp_path, only_sentence):
    (tmp_path / "a.toml").write_text("epoch = 3\n")
    only_sentence(train("--config", tmp_path / "a.toml"), 3, "unknown key 'epoch'", "a.toml", "did you mean 'epochs'")


def test_resume_with_another_optimizer(copied, train, only_sentence):
    before = (copied / "checkpoints/last.h5").read_bytes()
    only_sentence(train("--epochs", 2, "--resume", "auto", "--optimizer", "adam"), 3, "optimizer")
    assert (copied / "checkpoints/last.h5").read_bytes() == before


def test_unwritable_run_directory(train, tmp_path, only_sentence):
    # permissions do not stop root, a file in the way does
    (tmp_path / "file").write_text("mine")
    for run in (tmp_path / "file", tmp_path / "file/run"):
        only_sentence(train("--run", run), 6, "cannot write the run directory")
    assert (tmp_path / "file").read_text() == "mine"


def test_bad_input_on_two_ranks(any_mpi, train, run, tmp_path, only_sentence):
    (tmp_path / "file").write_text("mine")

    def start(*options, ranks=2):
        return train(*options, runtime=any_mpi, ranks=ranks)

    only_sentence(start("--data", tmp_path / "none.h5"), 4, "there is no dataset")
    only_sentence(start("--batch-size", 100), 3, "is not divisible by 8 shards")
    only_sentence(start("--optimizer", "nestrov"), 3, "did you mean 'nesterov'")
    only_sentence(start("--run", tmp_path / "file/run"), 6, "cannot write the run directory")
    only_sentence(start("--shards", 2, ranks=3), 7, "3 ranks", "2 shards", "--shards 3")
    assert not run.exists()


def test_debug(train, run, tmp_path, summary_of):
    debug = train("--run", tmp_path / "debug", "--debug").expect()
    assert "gradient check of 10 parameters" in debug.stdout
    assert "level" not in debug.stderr
    table = [line for line in debug.stdout.splitlines() if line.startswith(("layer ", "C1 ", "output "))]
    assert [line.split()[0] for line in table] == ["layer", "C1", "output"]
    train().expect()
    # looking closely changes nothing
    assert summary_of(tmp_path / "debug")["theta_sha256"] == summary_of(run)["theta_sha256"]


def test_debug_names_the_layer(train):
    done = train("--lr", "1e30", "--debug")
    assert done.returncode not in (0, 130)
    assert done.stderr.count("Traceback (most recent call last)") >= 1
    last = done.stderr.splitlines()[-1]
    assert "FloatingPointError: layer " in last or "NonFiniteError" in last, done.stderr


def test_debug_shows_the_traceback_of_an_expected_error(train, tmp_path):
    done = train("--data", tmp_path / "none.h5", "--debug")
    assert done.returncode == 4
    assert done.stderr.startswith("Traceback")
    assert "there is no dataset" in done.stderr


def test_debug_on_two_ranks(any_mpi, train, tmp_path):
    done = train("--data", tmp_path / "none.h5", "--run", tmp_path, "--debug", runtime=any_mpi, ranks=2)
    assert done.returncode == 4
    assert done.output.count("DataError: there is no dataset") == 1, done.output
    assert train("--debug", runtime=any_mpi, ranks=2).expect().stdout.count("gradient check of") == 1


def test_the_effective_configuration_is_kept(digits, train, run, tmp_path, distlenet):
    (tmp_path / "a.toml").write_text('recipe = "fast"\nlr = 0.05\nepochs = 7\n')
    train("--config", tmp_path / "a.toml", "--display", "quiet").expect()
    written = tomllib.loads((run / "config.toml").read_text())
    assert (written["epochs"], written["lr"], written["rotate"], written["batch_size"]) == (1, 0.05, 0.0, 64)
    distlenet("train", "--data", digits, "--run", tmp_path / "again", "--config", run / "config.toml").expect()
    shas = {json.loads((path / "summary.json").read_text())["theta_sha256"] for path in (run, tmp_path / "again")}
    assert len(shas) == 1
