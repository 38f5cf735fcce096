import gzip

import numpy as np
import pytest

from distlenet.data.file.writer import silent
from distlenet.data.sources import csv as csvfile
from distlenet.data.sources.csv import read_csv
from distlenet.errors import DataError

RNG = np.random.default_rng(1)
PIXELS = RNG.integers(0, 256, (40, 16), np.uint8)
LABELS = np.arange(40) % 4


def rows(pixels=PIXELS, labels=LABELS, last=False, form="{}".format):
    for image, label in zip(pixels, labels, strict=True):
        cells = [form(value) for value in image]
        yield ",".join([*cells, str(label)] if last else [str(label), *cells])


def write(path, lines, header=None, end="\n"):
    text = end.join([*([header] if header else []), *lines]) + end
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wb") as file:
        file.write(text.encode())
    return path


def images_by_label(dataset):
    """Return the content of the dataset, sorted: (label's name, image) pairs."""
    return sorted(
        (dataset.class_names[label], image.tobytes())
        for images, labels in (dataset.train, dataset.test)
        for image, label in zip(images, labels, strict=True)
    )


EXPECTED = sorted((str(label), image.tobytes()) for image, label in zip(PIXELS, LABELS, strict=True))
KAGGLE = "label," + ",".join(f"pixel{i}" for i in range(16))
LAST = ",".join(f"{i}" for i in range(16)) + ",class"


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
@pytest.mark.parametrize(
    ("header", "last", "options"),
    [(None, False, {}), (KAGGLE, False, {}), (LAST, True, {}), (None, True, {"label": "last"})],
)
def test_every_image_arrives_with_its_label(name, end, header, last, options, tmp_path):
    dataset = read_csv(write(tmp_path / name, rows(last=last), header, end), silent, **options)
    assert images_by_label(dataset) == EXPECTED
    assert dataset.class_names == ("0", "1", "2", "3") and dataset.name == "a"
    assert dataset.train[0].shape == (32, 4, 4) and dataset.test[0].shape == (8, 4, 4)
    assert np.bincount(dataset.test[1]).tolist() == [2, 2, 2, 2]  # a fifth of every class


@pytest.mark.parametrize("wanted", [3, 7, 1000])
def test_the_size_of_blocks_does_not_matter(wanted, tmp_path, monkeypatch):
    monkeypatch.setattr(csvfile, "BLOCK_LINES", wanted)
    assert images_by_label(read_csv(write(tmp_path / "a.csv", rows(), KAGGLE), silent)) == EXPECTED


def test_other_delimiters_quotes_spaces_and_a_byte_order_mark(tmp_path):
    lines = [line.replace(",", ";") for line in rows()]
    assert images_by_label(read_csv(write(tmp_path / "a.csv", lines), silent)) == EXPECTED
    lines = [line.replace(",", " , ") for line in rows()]
    assert images_by_label(read_csv(write(tmp_path / "a.csv", lines), silent)) == EXPECTED
    lines = [",".join(f'"{cell}"' for cell in line.split(",")) for line in rows()]
    header = "\ufeff" + ",".join(f'"{cell}"' for cell in KAGGLE.split(","))
    assert images_by_label(read_csv(write(tmp_path / "b.csv", [*lines, ""], header), silent)) == EXPECTED


def test_floats_of_0_to_1_become_grey_levels(tmp_path):
    table = write(tmp_path / "a.csv", rows(PIXELS / 255, form=repr_of))
    assert images_by_label(read_csv(table, silent)) == EXPECTED
    table = write(tmp_path / "b.csv", rows(PIXELS * 1.0, form=repr_of))
    assert images_by_label(read_csv(table, silent)) == EXPECTED


def repr_of(value):
    return repr(float(value))


@pytest.mark.parametrize("form", [repr_of, "{:.6f}".format, "{:.2e}".format])
def test_every_grey_level_of_a_table_of_floats_is_kept(form, tmp_path):
    """Some releases of numpy read the text 0.5 as the integer 0 if integers are requested."""
    levels = np.arange(256).reshape(16, 16)
    for factor in (1, 1 / 255):
        table = write(tmp_path / "a.csv", rows(np.vstack([levels] * 2) * factor, np.arange(32) % 2, form=form))
        dataset = read_csv(table, silent, test=table)
        assert len(np.unique(dataset.train[0])) == 256


def test_labels_may_be_written_as_floats_and_be_large(tmp_path):
    for labels in (["5.0", "7.0"], ["5", "7e0"], ["1000001", "2000002"]):
        dataset = read_csv(write(tmp_path / "a.csv", rows(labels=labels * 20)), silent)
        assert dataset.class_names == tuple(str(int(float(label))) for label in labels)


def test_standardised_pixels_and_other_ranges_are_refused(tmp_path):
    with pytest.raises(
        DataError, match=r"line 1, column \d+ is '-0.42', expected a pixel from .* undo the standardisation"
    ):
        read_csv(write(tmp_path / "a.csv", rows(np.where(PIXELS < 128, -0.42, 2.8), form=repr_of)), silent)
    with pytest.raises(DataError, match="from 0 to 2.8 with fractions"):
        read_csv(write(tmp_path / "a.csv", rows(np.where(PIXELS < 128, 0, 2.8), form=repr_of)), silent)
    test = write(tmp_path / "test.csv", rows(PIXELS / 255, form=repr_of))
    train = write(tmp_path / "a.csv", rows())
    with pytest.raises(DataError, match="same range in both"):
        read_csv(train, silent, test=test)


def test_a_table_of_test_images_keeps_its_order(tmp_path):
    train, test = write(tmp_path / "train.csv", rows()), write(tmp_path / "test.csv", rows(PIXELS[:8], LABELS[:8]))
    dataset = read_csv(train, silent, test=test)
    np.testing.assert_array_equal(dataset.test[0], PIXELS[:8].reshape(8, 4, 4))
    assert len(dataset.train[0]) == 40


def test_the_order_depends_only_on_the_seed(tmp_path):
    table = write(tmp_path / "a.csv", rows(labels=np.sort(LABELS)))
    first, again, other = (read_csv(table, silent, seed=seed) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first.train[0], again.train[0])
    assert (first.train[1] != other.train[1]).any()
    assert len(set(first.train[1][-6:].tolist())) > 1  # the validation images are not all of one class


def test_labels_may_start_anywhere_and_have_gaps(tmp_path):
    dataset = read_csv(write(tmp_path / "a.csv", rows(labels=LABELS * 7 + 1)), silent)
    assert dataset.class_names == ("1", "8", "15", "22")
    assert sorted(set(dataset.train[1].tolist())) == [0, 1, 2, 3]


def test_images_that_are_not_square(tmp_path):
    table = write(tmp_path / "a.csv", rows(PIXELS[:, :12]))
    assert read_csv(table, silent, size=(3, 4)).train[0].shape[1:] == (3, 4)
    with pytest.raises(DataError, match=r"12 pixels per image, which is not a square; give --size"):
        read_csv(table, silent)
    with pytest.raises(DataError, match=r"expected 5 x 4 = 20 as --size says"):
        read_csv(table, silent, size=(5, 4))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1,2,3", "line 32 has 3 columns, expected 17 columns as in line 1"),
        ("1" + ",7" * 17, "line 32 has 18 columns"),
        ("seven" + ",7" * 16, "line 32, column 1 is 'seven', expected a label: a whole number; number the classes"),
        ("1" + ",7" * 15 + ",", "line 32, column 17 is '', expected a number"),
        ("1" + ",7" * 15 + ",nan", "line 32, column 17 is 'nan', expected a number"),
        ("1" + ",7" * 15 + ",256", "line 32, column 17 is '256', expected a pixel from 0 to 255"),
        ("-1" + ",7" * 16, "line 32, column 1 is '-1', expected a label: a whole number"),
        ("99999999999999999999" + ",7" * 16, "line 32, column 1 is '99999999999999999999', expected a label"),
        ("1" + ",7" * 15 + ",18446744073709551617", "line 32, column 17 is '18446744073709551617', expected a pixel"),
        ("1" + ",7" * 15 + ",-0.42", "line 32, column 17 is '-0.42', expected a pixel from 0 to 255, or from 0"),
        ("1" + ",7" * 15 + ",1_0", "line 32, column 17 is '1_0', expected a number"),
        ("1.5" + ",7" * 16, "line 32, column 1 is '1.5', expected a label: a whole number"),
    ],
)
def test_an_invalid_line_is_named(line, message, tmp_path, monkeypatch):
    monkeypatch.setattr(csvfile, "BLOCK_LINES", 7)
    table = write(tmp_path / "a.csv", [*list(rows())[:30], line, *list(rows())[30:]], KAGGLE)
    with pytest.raises(DataError) as raised:
        read_csv(table, silent)
    assert message in str(raised.value) and "a.csv" in str(raised.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n1,2\n", "empty line"),
        (b"label,pixel0\n", "a header but no image"),
        (b"label,pixel0\n\n\n", "a header but no image"),
        (b"just words\n", "line 1 has 1 columns"),
        (b"PK\x03\x04\xff\xfe", "is a zip archive"),
        (b"\x1f\x8b and no gzip", "is damaged"),
        (gzip.compress(b"1,2,3,4,5\n" * 99)[:-9], "is cut off"),
        (b"1,2,3,4,5\n" * 9, "has 1 classes"),
        (b"<!DOCTYPE html>\n<html>", "is an HTML page"),
        (gzip.compress(b"<html>"), "is a gzip file that holds an HTML page"),
        (gzip.compress(gzip.compress(b"1,2,3,4,5\n")), "is a gzip file that holds a gzip file"),
        ("1,2,3,4,5\n".encode("utf-16"), "is text in UTF-16: save it as UTF-8"),
        (b"BZh91AY", "is a bzip2 file"),
        (b"1,2\xff,3,4,5\n", "unknown kind|not text in UTF-8"),
        (b"0;0,5020;0,3725;0,9490;0,2824\n" * 4, "commas and ;, probably decimal commas"),
        (b"0\t0,5\t0,25\t0,75\t0,0\n" * 4, "commas and tabs"),
        (b"# label,a,b,c,d\n" * 4, "starts with #"),
        (b"# made by hand\n" * 4, "starts with #"),
    ],
)
def test_a_file_that_is_not_a_table_gives_one_sentence(content, message, tmp_path):
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_csv(tmp_path / "a.csv", silent)


def test_tables_that_do_not_match(tmp_path):
    train = write(tmp_path / "train.csv", rows())
    without_labels = write(tmp_path / "test.csv", [line.partition(",")[2] for line in rows()])
    with pytest.raises(DataError, match=r"has 16 pixels .*test.csv has 15, expected the same number \(and a label"):
        read_csv(train, silent, test=without_labels)
    strange = write(tmp_path / "strange.csv", rows(labels=LABELS + 1))
    with pytest.raises(DataError, match=r"strange.csv: row 3 has label 4, which no training image has"):
        read_csv(train, silent, test=strange)
    with pytest.raises(DataError, match="there is no file"):
        read_csv(tmp_path / "none.csv", silent)


def test_too_few_images_for_a_test_set(tmp_path):
    with pytest.raises(DataError, match=r"less than one image.*--test-share"):
        read_csv(write(tmp_path / "a.csv", rows(PIXELS[:4], LABELS[:4])), silent)


def indexed(first=0, labels=LABELS):
    return [f"{number},{line}" for number, line in enumerate(rows(labels=labels), first)]


@pytest.mark.parametrize("name", ["", "Unnamed: 0", "id", "index", "ID"])
def test_a_column_of_row_numbers_is_skipped_and_reported(name, tmp_path):
    dataset = read_csv(write(tmp_path / "a.csv", indexed(), f"{name},{KAGGLE}"), silent)
    assert images_by_label(dataset) == EXPECTED
    assert dataset.notes == (f"column 1 of a.csv ({name!r}) is skipped: it numbers the rows",)


def test_a_header_of_column_numbers_is_not_an_image(tmp_path):
    for start in (0, 1):
        header = ",".join(str(number) for number in range(start, start + 17))
        dataset = read_csv(write(tmp_path / "a.csv", rows(), header), silent)
        assert images_by_label(dataset) == EXPECTED
        assert dataset.notes == ("line 1 of a.csv numbers the columns: taken for a header",)
    header = ",label," + ",".join(str(number) for number in range(16))  # pandas' own index and names
    assert images_by_label(read_csv(write(tmp_path / "a.csv", indexed(), header), silent)) == EXPECTED


@pytest.mark.parametrize(
    ("header", "options"),
    [
        (None, {"ignore": ["1"], "label": "2"}),
        (None, {"ignore": ["first"]}),
        ("trailing", {"ignore": ["last"]}),
        ("number,kind," + KAGGLE.partition(",")[2], {"ignore": ["number"], "label": "kind"}),
        ("file,kind," + KAGGLE.partition(",")[2], {"ignore": ["1"]}),
        ("file,Class," + KAGGLE.partition(",")[2], {"ignore": ["file"]}),
    ],
)
def test_columns_by_name_or_number(header, options, tmp_path):
    lines = [f"picture {line}" if header and "file" in header else line for line in indexed()]
    if header == "trailing":
        lines, header = [line + "," for line in rows()], None
    assert images_by_label(read_csv(write(tmp_path / "a.csv", lines, header), silent, **options)) == EXPECTED


@pytest.mark.parametrize(
    ("lines", "header", "options", "message"),
    [
        (indexed(), None, {}, r"column 1, taken .*, numbers the rows \(0, 1, 2 ...\).*.*--label first"),
        (indexed(1), None, {}, "column 1, taken for the label, numbers the rows"),
        (indexed(), None, {"label": "2"}, "17 pixels per image.*a column too many: skip it with --ignore"),
        (rows(), ",".join(f"pixel{i}" for i in range(17)), {}, "names no label; give the label with --label"),
        (rows(), ",".join(f"{i}x1" for i in range(17)), {}, "names no label"),
        (rows(), KAGGLE.replace("pixel3", "class"), {}, r"columns 1 \('label'\) and 5 \('class'\) may both be"),
        (
            rows(),
            KAGGLE,
            {"label": "lable"},
            r"--label lable: the first line .* has no such name \(did you mean 'label'\?\)",
        ),
        (rows(), None, {"label": "18"}, "--label 18: .* has columns 1 to 17"),
        (rows(), KAGGLE, {"ignore": ["0"]}, "--ignore 0: .* has columns 1 to 17"),
        (rows(), KAGGLE, {"ignore": ["label"], "label": "1"}, "both --label and --ignore"),
        (rows(), ",0" * 16, {}, "line 1, column 1 is '', expected a number, or a header that names every column"),
        ([line + "," for line in rows()], None, {}, "line 1, column 18 is ''.*--ignore 18"),
        ([line.replace(",", ",,", 1) for line in rows()], KAGGLE, {}, "line 2 has 18 columns, expected 17"),
    ],
)
def test_ambiguous_columns_are_refused(lines, header, options, message, tmp_path):
    with pytest.raises(DataError, match=message):
        read_csv(write(tmp_path / "a.csv", lines, header), silent, **options)


def test_a_test_table_uses_the_columns_of_the_training_table(tmp_path):
    train = write(tmp_path / "train.csv", rows(last=True), LAST)
    test = write(tmp_path / "test.csv", rows(PIXELS[:8], LABELS[:8], last=True))  # no header: the label is unknown
    dataset = read_csv(train, silent, test=test)
    np.testing.assert_array_equal(dataset.test[0], PIXELS[:8].reshape(8, 4, 4))
    assert dataset.test[1].tolist() == LABELS[:8].tolist()
    own = write(tmp_path / "own.csv", rows(PIXELS[:8], LABELS[:8]), KAGGLE)  # its own header takes precedence
    np.testing.assert_array_equal(read_csv(train, silent, test=own).test[0], PIXELS[:8].reshape(8, 4, 4))
    bare = write(tmp_path / "bare.csv", rows())
    named = write(tmp_path / "named.csv", rows(last=True), LAST)
    with pytest.raises(DataError, match="in column 17 according to its header, .* in column 1 by default"):
        read_csv(bare, silent, test=named)
