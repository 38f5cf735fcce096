"""The ten digits as pictures of 7x12 pixels: what the outputs of LeNet-5 (1998) compare F6 with.

Codes that look like what they mean are alike where the digits are, and the network's mistakes are then
mistakes between digits that look alike (LeCun et al. 1998, section II-C). The pictures are our own.
"""

import numpy as np

ROWS, COLUMNS = 12, 7
PICTURES = """
....... ....... ....... ....... ....... ....... ....... ....... ....... .......
..###.. ...##.. .#####. .#####. ....##. ####### ..####. ####### .#####. .#####.
.##.##. ..###.. ##...## ##...## ...###. ##..... .##.... .....## ##...## ##...##
##...## .####.. .....## .....## ..####. ##..... ##..... .....## ##...## ##...##
##...## ...##.. .....## .....## .##.##. ##..... ##..... ....##. ##...## ##...##
##...## ...##.. ....##. ..####. ##..##. ######. ######. ....##. .#####. .######
##...## ...##.. ...##.. .....## ##..##. .....## ##...## ...##.. ##...## .....##
##...## ...##.. ..##... .....## ####### .....## ##...## ...##.. ##...## .....##
##...## ...##.. .##.... .....## ....##. .....## ##...## ..##... ##...## .....##
.##.##. ...##.. ##..... ##...## ....##. ##...## ##...## ..##... ##...## ....##.
..###.. .###### ####### .#####. ....##. .#####. .#####. ..##... .#####. .####..
....... ....... ....... ....... ....... ....... ....... ....... ....... .......
"""


def digit_codes() -> np.ndarray:
    """Return the codes (10, 84): +1 for ink, -1 for paper, rows first."""
    lines = [line.split() for line in PICTURES.split("\n") if line]
    digits = ["".join(rows) for rows in zip(*lines, strict=True)]
    return np.array([[1.0 if pixel == "#" else -1.0 for pixel in digit] for digit in digits])
