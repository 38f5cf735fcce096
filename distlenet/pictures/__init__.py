"""From a picture of handwriting, as a camera, a scanner or a mouse makes it, to what the network was trained on.

    reader = Reader(find_checkpoint("runs/a"))
    for digit in digits_in(read_picture("photo.jpg"), reader.image_shape):
        print(reader.best(digit.image))

``reading.py`` (the only user of Pillow) gives colours and one grey channel, ``paper.py`` and
``lines.py`` take the paper away, ``digits.py`` finds the digits among what is left, ``touching.py`` separates
those that touch, ``box.py`` normalises each as MNIST was; ``looking.py`` leads through all this. Pictures are
(rows, columns); "ink" is 0 for paper to 1 for the middle of a stroke.
"""

from distlenet.pictures.looking import Digit, digits_in, digits_in_ink
from distlenet.pictures.reading import Picture, read_picture

__all__ = ["Digit", "Picture", "digits_in", "digits_in_ink", "read_picture"]
