"""``distlenet predict``: lines, JSON and sentences."""

import io
import json
import os
import threading

import numpy as np
import pytest

pytest.importorskip("PIL")
from PIL import Image

from distlenet.cli import main
from distlenet.data.sources.drawing import draw_digits
from distlenet.ui.results import share


@pytest.fixture
def files(tmp_path):
    images, _ = draw_digits(2, seed=5)
    for number, image in enumerate(images):
        Image.fromarray(255 - image).resize((112, 112)).save(tmp_path / f"{number}.png")
    Image.new("L", (50, 50), 200).save(tmp_path / "blank.png")
    Image.fromarray(255 - np.hstack(images)).save(tmp_path / "both.png")
    return tmp_path


def test_lines(trained, files, distlenet):
    lines = distlenet("predict", trained, files / "0.png", files / "1.png").expect().stdout.splitlines()
    assert len(lines) == 2
    for number, line in enumerate(lines):
        assert line.startswith(f"{files / str(number)}.png: ")
        assert line.count(" %") == 3


def test_what_the_network_saw(trained, files, distlenet):
    lines = distlenet("predict", trained, files / "0.png", "--show").expect().stdout.splitlines()
    assert len(lines) == 15
    assert "@" in "".join(lines[1:])


def test_json_and_a_bad_file_among_good_ones(trained, files, capsys):
    names = [str(files / name) for name in ("0.png", "blank.png", "none.png", "1.png")]
    assert main(["predict", str(trained), *names, "--json"]) == 12
    answers = json.loads(capsys.readouterr().out)
    assert [answer["file"] for answer in answers] == names
    assert ["error" in answer for answer in answers] == [False, True, True, False]
    assert answers[0]["label"] == answers[0]["top"][0]["label"]
    assert answers[0]["probability"] == answers[0]["top"][0]["probability"] <= 1
    assert set(answers[0]["box"]) == {"left", "top", "right", "bottom"}


def test_one_sentence_for_each_bad_file(trained, files, capsys):
    assert main(["predict", str(trained), str(files / "blank.png"), str(files / "none.png")]) == 12
    out, message = capsys.readouterr()
    assert out == ""
    assert [line.startswith("distlenet: error: ") for line in message.splitlines()] == [True, True]
    assert "blank.png: the picture is blank" in message and f"there is no picture {files / 'none.png'}" in message


def test_many(trained, files, distlenet):
    answers = json.loads(distlenet("predict", trained, files / "both.png", "--many", "--json").expect().stdout)
    assert len(answers) == 2
    assert answers[0]["box"]["right"] <= answers[1]["box"]["left"]


def test_reading_the_first_of_several_frames_is_reported(trained, files, distlenet):
    frames = [Image.open(files / name).convert("L") for name in ("0.png", "1.png")]
    frames[0].save(files / "film.gif", save_all=True, append_images=frames[1:])
    words = ["predict", trained, files / "film.gif"]
    assert "film.gif (the first of several frames): " in distlenet(*words).expect().stdout
    assert json.loads(distlenet(*words, "--json").expect().stdout)[0]["frames"] is None


def test_without_a_checkpoint_the_package_answers(files, distlenet):
    names = [str(files / name) for name in ("0.png", "1.png")]
    message = distlenet("predict", "pretrained", *names).expect().stdout
    assert distlenet("predict", *names).expect().stdout == message
    assert distlenet("predict", names[1]).expect().stdout == message.splitlines(keepends=True)[1]
    assert main(["predict", str(files / "no-run"), names[0]]) == 5  # not a picture: a checkpoint that is missing


def test_every_argument_has_its_own_lines(trained, files, distlenet):
    """Also a file that is named twice, in whatever spelling, or that shows several digits, or none."""
    same = ["0.png", "./0.png", str(files / "0.png"), "0.png"]
    lines = distlenet("predict", trained, *same, cwd=files).expect().stdout.splitlines()
    assert [line.split(": ")[0] for line in lines] == same
    assert len({line.split(": ")[1] for line in lines}) == 1
    several = distlenet("predict", trained, "both.png", "both.png", "0.png", "--many", "--show", cwd=files).expect()
    lines = several.stdout.splitlines()
    assert len(lines) == 2 * (1 + 2 * 15) + 15
    assert lines[0] == lines[31] and lines[0].startswith("both.png: ") and len(lines[0]) == len("both.png: 00")
    names = ["both.png", "blank.png", "both.png", "blank.png"]
    done = distlenet("predict", trained, *names, "--many", "--json", cwd=files)
    answers = json.loads(done.stdout)
    assert done.returncode == 12 and [answer["argument"] for answer in answers] == [0, 0, 1, 2, 2, 3]
    assert [answer["file"] for answer in answers] == [names[answer["argument"]] for answer in answers]


def test_probabilities_are_not_rounded_to_certainty():
    assert [share(value) for value in (1, 0.99996, 0.9999, 0.5, 0.00004, 0)] == [
        *(">99.99 %", ">99.99 %", "99.99 %", "50.00 %", "<0.01 %", "0.00 %"),
    ]


def row_of(files, count, name="row.png", gap=12):
    """Write a picture of ``count`` digits in a row."""
    images, _ = draw_digits(count, seed=5)
    row = np.hstack([np.pad(image, ((4, 4), (gap // 2, gap // 2))) for image in images])
    Image.fromarray(255 - row).resize((3 * row.shape[1], 3 * row.shape[0])).save(files / name)
    return str(files / name)


@pytest.mark.parametrize(("count", "gap"), [(2, 12), (5, 12), (5, 40), (3, 2)])
def test_several_digits_where_one_was_expected(trained, files, capsys, count, gap):
    row = row_of(files, count, gap=gap)
    main(["predict", str(trained), row])
    message = capsys.readouterr().err
    assert f"looks like {count} digits" in message and "try --many" in message
    main(["predict", str(trained), row, str(files / "0.png"), "--json"])
    answers = json.loads(capsys.readouterr().out)
    assert answers[0].get("looks_like") == count or f"looks like {count} digits" in answers[0]["error"]
    assert answers[1]["looks_like"] == 1
    assert main(["predict", str(trained), row, str(files / "1.png"), "--many"]) == 0
    assert "looks like" not in capsys.readouterr().err


def test_a_pattern_is_not_writing(trained, files, capsys):
    """Thousands of marks: an answer or a sentence at once, not after hours."""
    dots = np.full((448, 448), 255, np.uint8)
    for row in range(6, 442, 12):
        dots[row : row + 6].reshape(6, -1)[:, :] = np.where(np.arange(448) % 12 < 6, 0, 255)
    Image.fromarray(dots).save(files / "dots.png")
    main(["predict", str(trained), str(files / "dots.png")])
    capsys.readouterr()
    assert main(["predict", str(trained), str(files / "dots.png"), "--many"]) == 12
    assert "more than 300 marks" in capsys.readouterr().err


def test_scores_of_labelled_pictures(trained, files, capsys):
    true = [str(label) for label in draw_digits(2, seed=5)[1]]
    wrong = str((int(true[1]) + 1) % 10)
    labels = files / "labels.csv"
    labels.write_text(
        f"file,label\r\n0.png, {true[0]}\r\n{files / '1.png'},{wrong}\r\n\r\nblank.png,3\r\nmore.png,1\r\n"
    )
    words = ["predict", str(trained), *(str(files / name) for name in ("0.png", "1.png", "blank.png"))]
    assert main([*words, "--labels", str(labels), "--json"]) == 12  # as without labels: a picture is blank
    found = json.loads(capsys.readouterr().out)
    answers, scores = found["readings"], found["scores"]
    right = [answers[0]["label"] == true[0], answers[1]["label"] == wrong]
    assert (scores["count"], scores["answered"]) == (3, 2)
    assert scores["accuracy"] == sum(right) / 3 and scores["accuracy_of_answers"] == sum(right) / 2
    assert scores["confusion"][int(wrong)][int(answers[1]["label"])] == 1 and np.sum(scores["confusion"]) == 2
    assert scores["unanswered"] == [0, 0, 0, 1, 0, 0, 0, 0, 0, 0]
    assert sum(part["count"] for part in scores["calibration"]) == 2
    assert main([*words[:4], "--labels", str(labels)]) == 0
    out = capsys.readouterr().out
    assert all(word in out for word in ("right", "no answer", "confidence", "calibration error", "predicted"))


def test_the_page_of_labelled_pictures(trained, files, capsys):
    pytest.importorskip("matplotlib")
    pytest.importorskip("jinja2")
    (files / "labels.csv").write_text("0.png,1\n1.png,1\nblank.png,1\n")
    words = ["--labels", str(files / "labels.csv"), "--out", str(files / "page")]
    assert main(["predict", str(trained), str(files / "0.png"), str(files / "1.png"), *words]) == 0
    page = (files / "page/report.html").read_text()
    assert "Calibration" in page and (files / "page/calibration.svg").exists()
    assert (
        main(["predict", str(trained), str(files / "blank.png"), *words]) == 12
    )  # without a single answer, there is no diagram
    capsys.readouterr()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"1.png,3\n", "has no label for"),
        (b"0.png,3\n0.png,4\n", "line 2 of"),
        (b"0.png,x\n", "expected FILE,LABEL with one of 0, 1, 2"),
        (b"0.png\n", "expected FILE,LABEL"),
        (b"\xff\xfe0", "UTF-16"),
        (b'"0.png,3\n', "cannot read the labels"),
        (None, "cannot read the labels"),
    ],
)
def test_labels_that_are_not_understood(trained, files, capsys, content, sentence):
    labels = files / "labels.csv"
    if content is not None:
        labels.write_bytes(content)
    assert main(["predict", str(trained), str(files / "0.png"), "--labels", str(labels)]) == 4
    out, message = capsys.readouterr()
    assert out == "" and message.count("\n") == 1 and sentence in message


def test_a_page_needs_labels(trained, files, capsys):
    assert main(["predict", str(trained), str(files / "0.png"), "--out", str(files)]) == 2
    assert "--labels" in capsys.readouterr().err


def test_pictures_may_follow_an_option(trained, files, capsys):
    (files / "labels.csv").write_text("0.png,1\n1.png,1\n")
    pictures, labels = [str(files / "0.png"), str(files / "1.png")], ["--labels", str(files / "labels.csv"), "--json"]
    orders = [
        [str(trained), *pictures, *labels],
        [str(trained), *labels, *pictures],
        [str(trained), pictures[0], *labels, pictures[1]],
        [*labels, str(trained), *pictures],
    ]
    answers = []
    for order in orders:
        assert main(["predict", *order]) == 0
        answers.append(capsys.readouterr().out)
    assert len({*answers}) == 1 and json.loads(answers[0])["scores"]["count"] == 2
    assert main(["predict", *labels, *pictures]) == 0  # the packaged network
    assert main(["predict", pictures[0], *labels, pictures[1]]) == 0
    capsys.readouterr()
    assert main(["predict", str(trained), *labels, "--unknown", *pictures]) == 2
    assert "--unknown" in capsys.readouterr().err


def test_files_that_are_missing_are_left_out_of_the_scores(trained, files, capsys):
    """A wrong name says nothing about the network: it is an error, and left out of the scores."""
    (files / "labels.csv").write_text("0.png,1\nnone.png,1\n")
    words = ["predict", str(trained), "--labels", str(files / "labels.csv")]
    assert main([*words, str(files / "0.png"), str(files / "none.png"), "--json"]) == 12
    out, err = capsys.readouterr()
    assert json.loads(out)["scores"]["count"] == 1 and "leave out 1 of 2 files" in err
    assert main([*words, str(files / "none.png"), "--json"]) == 12
    assert json.loads(capsys.readouterr().out)["scores"] is None
    assert main([*words, str(files / "none.png")]) == 12
    out, err = capsys.readouterr()
    assert out == "" and "there is no picture" in err


def test_scores_of_rows(trained, files, capsys):
    images, true = draw_digits(4, seed=5)
    row = 255 - np.hstack([np.pad(image, 10) for image in images])
    Image.fromarray(row).resize((960, 240)).save(files / "row.png")
    number = "".join(map(str, true))
    words = ["predict", str(trained), str(files / "row.png"), str(files / "blank.png"), "--many", "--labels"]
    (files / "rows.csv").write_text(f"row.png,{number}\nblank.png,4 2\n")
    assert main([*words, str(files / "rows.csv"), "--json"]) == 12
    found = json.loads(capsys.readouterr().out)
    read = [answer["label"] for answer in found["readings"] if "label" in answer]
    rows = found["scores"]["rows"]
    assert (rows["count"], rows["digits"], found["scores"]["count"]) == (2, 6, 6)
    assert rows["right"] == (read == list(number)) and rows["edits"] >= 2
    main([*words, str(files / "rows.csv"), "--out", str(files / "page")])
    assert "pictures read wholly right" in capsys.readouterr().out
    if (files / "page").exists():
        assert "wholly right" in (files / "page/report.html").read_text()
    (files / "rows.csv").write_text(f"row.png,{number}x\nblank.png,4\n")
    assert main([*words, str(files / "rows.csv")]) == 4
    assert "expected FILE,LABEL with some of 0, 1" in capsys.readouterr().err


def test_standard_input_and_pipes(trained, files, monkeypatch, capsys):
    content = (files / "0.png").read_bytes()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert main(["predict", "-", str(files / "1.png"), "-"]) == 0  # read once, answered twice
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[0] for line in lines] == ["-", str(files / "1.png"), "-"]
    assert lines[0] == lines[2]
    os.mkfifo(files / "pipe")
    writer = threading.Thread(target=(files / "pipe").write_bytes, args=(content,))
    writer.start()
    assert main(["predict", str(files / "pipe"), str(files / "1.png")]) == 0
    writer.join()
    assert capsys.readouterr().out.splitlines()[0].split(": ")[1] == lines[0].split(": ")[1]


def test_missing_files_and_other_files_are_named(trained, files, capsys):
    assert main(["predict", str(files / "nope.png"), str(files / "0.png")]) == 12
    captured = capsys.readouterr()
    assert "there is no picture" in captured.err + captured.out and f"{files / '0.png'}: " in captured.out
    assert main(["predict", str(trained)]) == 12
    assert "give the run before the pictures" in capsys.readouterr().err
    assert main(["predict", "--model", str(trained), str(files / "0.png")]) == 3
    assert "name a run before the pictures" in capsys.readouterr().err
