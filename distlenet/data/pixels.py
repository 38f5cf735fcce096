"""Pixels of any number type, brought to uint8: 0 is paper, 255 is ink."""

import numpy as np

from distlenet.errors import DataError

GREY = (0.299, 0.587, 0.114)  # luminance of red, green and blue, ITU-R BT.601


def as_pixels(images: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return every array as uint8, all by the same rule; the keys say where each is from.

    Numbers within 0 to 1 (the largest of all arrays is at most 1) are multiplied by 255, numbers within 0 to
    255 stay; both are rounded. Raises DataError: another type, NaN, or beyond these ranges.
    """
    largest = 0.0
    for where, array in images.items():
        if array.dtype.kind not in "buif":
            raise DataError(f"{where} is of type {array.dtype}, expected whole numbers or floats")
        low, high = (array.min(), array.max()) if array.size else (0, 0)
        if not (low >= 0 and high <= 255):  # also true of NaN
            found = "holds NaN" if np.isnan(low) else f"has values from {low:g} to {high:g}"
            raise DataError(f"{where} {found}, expected pixels of 0 to 255, or of 0 to 1")
        largest = max(largest, float(high))
    scale = 255 if largest <= 1 else 1
    return {where: _rounded(array, scale) for where, array in images.items()}


def _rounded(array: np.ndarray, scale: int) -> np.ndarray:
    if array.dtype.kind != "f":
        return np.ascontiguousarray(array, np.uint8) * np.uint8(scale)
    return np.rint(array * np.float32(scale)).astype(np.uint8)


def shape_of(pixels: int, size: tuple[int, int] | None, where: str) -> tuple[int, int]:
    """Return (rows, columns) of an image kept as ``pixels`` numbers: ``size``, else a square.

    Raises DataError if they do not fit.
    """
    if size is not None:
        if size[0] * size[1] != pixels:
            raise DataError(
                f"{where} has {pixels} pixels per image, expected {size[0]} x {size[1]} = "
                f"{size[0] * size[1]} as --size says"
            )
        return size
    side = round(pixels**0.5)
    if side * side != pixels or not pixels:
        raise DataError(f"{where} has {pixels} pixels per image, which make no square; give --size ROWSxCOLUMNS")
    return side, side


def grey(images: np.ndarray) -> np.ndarray:
    """Return the luminance (n, rows, columns) of ``images`` (n, rows, columns, 3), of the same type."""
    luminance = images @ np.array(GREY, np.float32)
    return luminance if images.dtype.kind == "f" else np.rint(luminance).astype(images.dtype)
