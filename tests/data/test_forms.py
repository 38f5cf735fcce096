"""Drawn forms that MNIST lacks, and the dataset that mixes them with MNIST."""

import numpy as np

from distlenet.data.sources.drawing import draw_digits
from distlenet.data.sources.forms import DRAWN, FORMS, OTHER, OTHERS
from distlenet.data.sources.handwriting import bank
from distlenet.data.sources.shapes import ANY


def test_every_digit_has_forms_and_other_signs_have_every_label():
    assert {way.digit for way in FORMS} == set(range(10))
    assert {way.digit for way in OTHERS} == {ANY}
    assert (np.diff(bank(OTHERS).chance, prepend=0) > 0).all()
    _, labels = draw_digits(1000, 1, ways=OTHERS)
    assert (np.bincount(labels) == 100).all()


def test_they_are_laid_out_like_mnist():
    for ways in (FORMS, OTHERS):
        images, _ = draw_digits(500, 1, ways=ways)
        rows, columns = images.max(axis=2) > 127, images.max(axis=1) > 127
        longest = np.maximum(rows.sum(axis=1), columns.sum(axis=1))
        assert longest.max() <= 21 and 18 <= np.median(longest) <= 20
        assert (images.max(axis=(1, 2)) > 200).all()


def test_the_mixed_dataset_is_the_same_everywhere(mnist, distlenet, tmp_path):
    made = distlenet("prepare", "mnist-and-forms", "--out", tmp_path / "mixed.h5").expect().stdout
    assert f"{60_000 + DRAWN + OTHER:,} train, 10,000 test" in made
    assert "402a4f28dad8" in made
    again = distlenet("prepare", "mnist-and-forms", "--out", tmp_path / "mixed.h5").expect().stdout
    assert "unchanged" in again
    few = ("--forms", 500, "--others", 100, "--out", tmp_path / "few.h5")
    assert "60,600 train" in distlenet("prepare", "mnist-and-forms", *few).expect().stdout
