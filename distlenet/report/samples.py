"""What augmentation makes of the training images."""

from typing import TYPE_CHECKING

import numpy as np

from distlenet.data.augmentation import Augmentation, Resampler
from distlenet.report.figure import new_figure, quiet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COPIES = 9  # of each image, beside the image itself


def augmented(images: np.ndarray, augmentation: Augmentation, seed: int) -> "Figure":
    """Draw ``images`` uint8 (n, rows, columns), and beside each what the run's augmentation makes of it."""
    count, rows, columns = images.shape
    resampler = Resampler(rows, columns, 0.0, 1.0)
    noise = augmentation.noise(seed, 0, 0, count * COPIES)
    maps = augmentation.maps(noise, rows, columns)
    copies = resampler.warp(np.repeat(images, COPIES, axis=0), maps)[0].transpose(2, 0, 1)  # (n * COPIES, H, W)
    figure = new_figure(0.95 * count * rows / columns + 0.3)
    grid = figure.subplots(count, COPIES + 1, squeeze=False)
    for row in range(count):
        pictures = [images[row] / 255, *copies[row * COPIES : (row + 1) * COPIES]]
        for axes, picture in zip(grid[row], pictures, strict=True):
            quiet(axes, frame=True).imshow(picture, cmap="gray_r", vmin=0, vmax=1)
    grid[0, 0].set_title("as it is", fontsize=8)
    grid[0, 1].set_title("augmented", fontsize=8)
    return figure
