"""Converts numbers from files to pixels (uint8) and labels: one rule for all formats.

Pixels may be bools, integers or floats of any width, in one of two ranges: 0 to 1, which is multiplied by 255, or 0 to
255, which is kept. Both are rounded to the nearest whole number. All images, training and test, must have the same
range. Values in neither range, or possibly in both, are refused: a wrong guess would leave two of 256 grey levels.
Labels are whole numbers from 0 to 2**53 - 1, of any type that holds them exactly: 5.0 is 5, and 5.5 is refused. They
are renumbered 0, 1, 2, ...; the classes are the labels of the training images.
"""

from collections.abc import Mapping

import numpy as np

from distlenet.data.file.writer import Block
from distlenet.errors import DataError

GREY = (0.299, 0.587, 0.114)  # luminance of red, green and blue, ITU-R BT.601
NUMBERS = "buif"  # numpy's kinds: bool, unsigned, signed, float
ROUNDING = 1e-3  # pixels may exceed their range by this much, for example after 16-bit arithmetic
BRIGHT = 16  # fractional pixels of 0 to 255 have a maximum above this
MOST_DIM = 0.01  # in the range 0 to 255, the largest share of images without a pixel above 1
LARGEST_LABEL = 2**53 - 1
MOST_CLASSES = 256
PIECE = 2**22  # numbers processed at a time


def as_blocks(
    raw: Mapping[str, Block], where: Mapping[str, tuple[str, str]]
) -> tuple[dict[str, Block], tuple[str, ...]]:
    """Return the images and labels of each split as uint8, and the class names; see as_pixels, number_classes.

    ``where`` names the origin of each split's images and labels, for messages. Raises DataError.
    """
    images = as_pixels({where[split][0]: images for split, (images, _) in raw.items()})
    labels, class_names = number_classes(
        {split: labels for split, (_, labels) in raw.items()}, {split: label for split, (_, label) in where.items()}
    )
    return {split: (images[where[split][0]], labels[split]) for split in raw}, class_names


def as_pixels(images: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return every array as uint8 (n, rows, columns), all by the same rule; the keys name the arrays' origins.

    Each is (n, rows, columns), or (n, rows, columns, 3) in colour, which is converted to luminance. Raises DataError
    naming the invalid number and its position.
    """
    ranges = {where: _range(array, where) for where, array in images.items()}
    largest = max((high for high, _ in ranges.values()), default=0.0)
    small = [where for where, (high, _) in ranges.items() if 0 < high <= 1 + ROUNDING]
    if largest <= 1 + ROUNDING:
        scale = 255
    elif small:
        other = next(where for where, (high, _) in ranges.items() if high == largest)
        raise DataError(
            f"{small[0]} has pixels of 0 to 1 and {other} of 0 to {largest:g}, expected the same range in both: divide "
            "or multiply one of them by 255"
        )
    elif largest < BRIGHT and any(fractions for _, fractions in ranges.values()):
        where = next(where for where, (high, _) in ranges.items() if high == largest)
        raise DataError(
            f"{where} has values from 0 to {largest:g} with fractions, expected pixels of 0 to 1, or of 0 to 255: "
            "clip or scale them"
        )
    else:
        scale = 1
        for where, array in images.items():
            _check_one_range(array, where)
    return {where: _bytes(array, scale) for where, array in images.items()}


def number_classes(
    labels: Mapping[str, np.ndarray], where: Mapping[str, str]
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Return the labels of each split as uint8 (n,), and the class names: the training labels in ascending order.

    ``labels`` of "train" and perhaps other splits are (n,) whole numbers, possibly as floats; ``where`` names their
    origin for messages. Raises DataError.
    """
    whole = {split: whole_numbers(numbers, where[split]) for split, numbers in labels.items()}
    classes = np.unique(whole["train"])
    if not 2 <= len(classes) <= MOST_CLASSES:
        shown = ", ".join(map(str, classes[:5].tolist()))
        raise DataError(f"{where['train']} has {len(classes)} classes ({shown}), expected 2 to {MOST_CLASSES}")
    for split, numbers in whole.items():
        strange = ~np.isin(numbers, classes)
        if strange.any():
            row = int(strange.argmax())
            raise DataError(f"{where[split]}: row {row} has label {numbers[row]}, which no training image has")
    numbered = {split: np.searchsorted(classes, numbers).astype(np.uint8) for split, numbers in whole.items()}
    return numbered, tuple(map(str, classes.tolist()))


def whole_numbers(numbers: np.ndarray, where: str) -> np.ndarray:
    """Return the labels ``numbers`` (n,) as int64 without changing any; raises DataError naming the row."""
    if numbers.dtype.kind not in NUMBERS:
        kind = "text" if numbers.dtype.kind in "US" else f"of type {numbers.dtype}"
        raise DataError(f"{where} is {kind}, expected whole numbers: number the classes 0, 1, 2 ...")
    values, largest = numbers, LARGEST_LABEL
    if numbers.dtype.kind == "f":
        values, largest = numbers.astype(np.float64), min(LARGEST_LABEL, 2 ** (np.finfo(numbers.dtype).nmant + 1) - 1)
    wrong = ~((values >= 0) & (values <= largest))  # also true for NaN
    if numbers.dtype.kind == "f":
        wrong |= numbers != np.floor(numbers)
    if wrong.any():
        row = int(wrong.argmax())
        limits = f"0 to {largest}" if values[row] > largest else "at least 0"
        raise DataError(f"{where}: row {row} has label {numbers[row]}, expected a whole number of {limits}")
    return numbers.astype(np.int64)


def _range(array: np.ndarray, where: str) -> tuple[float, bool]:
    """Return the largest number of ``array``, and whether it holds fractions; raises DataError."""
    if array.dtype.kind not in NUMBERS:
        raise DataError(f"{where} is of type {array.dtype}, expected whole numbers or floats")
    if not array.size:
        return 0.0, False
    low, high = array.min(), array.max()
    if not (low >= -ROUNDING and high <= 255 + ROUNDING):  # also true for NaN
        raise _out_of_range(array, low, high, where)
    fractions = array.dtype.kind == "f" and any((piece != np.floor(piece)).any() for piece in _pieces(array))
    return float(high), fractions


def _out_of_range(array: np.ndarray, low: float, high: float, where: str) -> DataError:
    wrong = ~((array >= -ROUNDING) & (array <= 255 + ROUNDING))
    index = tuple(map(int, np.unravel_index(int(wrong.argmax()), array.shape)))
    first = f"the first is {array[index]:g} in image {index[0]} at {index[1:]}"
    if not (np.isfinite(low) and np.isfinite(high)):
        return DataError(f"{where} holds NaN or infinity ({first}), expected pixels of 0 to 255, or of 0 to 1")
    if low >= 0 and high <= 65535:
        advice = "; these look like 16 bits: divide them by 257"
    elif low >= -1 and high <= 1:
        advice = "; these look like -1 to 1: add 1 and divide by 2"
    elif low < 0 and high < BRIGHT:
        advice = "; these look standardised: multiply by the standard deviation and add the mean"
    else:
        advice = ""
    return DataError(
        f"{where} has values from {low:g} to {high:g} ({first}), expected pixels of 0 to 255, or of 0 to 1{advice}"
    )


def _check_one_range(array: np.ndarray, where: str) -> None:
    """Raise DataError if some images of an ``array`` of 0 to 255 have no pixel above 1: their range is 0 to 1."""
    if not array.size:
        return
    brightest = np.concatenate([piece.reshape(len(piece), -1).max(axis=1) for piece in _pieces(array)])
    dim = (brightest > 0) & (brightest <= 1 + ROUNDING)
    if dim.mean() > MOST_DIM:
        raise DataError(
            f"{where}: image {int(dim.argmax())} has pixels of 0 to 1 and image {int(brightest.argmax())} of 0 to "
            f"{brightest.max():g}, expected the same range in all; {int(dim.sum()):,} of {len(dim):,} images have no "
            "pixel above 1: multiply these by 255, or remove them"
        )


def _bytes(array: np.ndarray, scale: int) -> np.ndarray:
    """Return the numbers ``array`` times ``scale`` as uint8 (n, rows, columns)."""
    colours = array.ndim == 4
    result = np.empty(array.shape[:3] if colours else array.shape, np.uint8)
    row = 0
    for piece in _pieces(array):
        numbers = piece @ np.array(GREY, np.float32) if colours else piece
        if numbers.dtype.kind == "f":
            numbers = np.rint(np.clip(numbers * np.float32(scale), 0, 255))
        result[row : row + len(piece)] = numbers  # whole numbers from 0 to 255 now
        if numbers.dtype.kind != "f":
            result[row : row + len(piece)] *= np.uint8(scale)
        row += len(piece)
    return result


def _pieces(array: np.ndarray) -> list[np.ndarray]:
    """Return ``array`` cut along its first axis into views of a few million numbers."""
    rows = max(1, PIECE * len(array) // max(1, array.size))
    return [array[row : row + rows] for row in range(0, len(array), rows)]
