"""Turns a picture of handwriting (camera, scanner or mouse) into images like those the network was trained on.

    reader = Reader(find_checkpoint("runs/a"))
    for digit in digits_in(read_picture("photo.jpg"), reader.image_shape):
        print(reader.best(digit.image))

``reading.py`` (the only user of Pillow) gives colours and one grey channel, ``paper.py`` and ``lines.py`` remove the
paper, ``edge.py`` finds what lies at the picture's edge, ``digits.py`` finds the digits in the ink, ``touching.py``
separates digits that touch, and ``box.py`` normalises each like MNIST. ``looking.py`` runs these steps, for several
readings of the picture, and lets the network choose. Pictures are (rows, columns); "ink" ranges from 0 for paper to 1
for the middle of a stroke.
"""

from distlenet.pictures.looking import Digit, digits_in, digits_in_ink
from distlenet.pictures.reading import Picture, read_picture

__all__ = ["Digit", "Picture", "digits_in", "digits_in_ink", "read_picture"]
