"""The former name of ``distlenet.data.file.dataset_file``, kept for users' programs."""

from distlenet.data.file.dataset_file import DigitFile, open_digit_file, write_digit_file

__all__ = ["DigitFile", "open_digit_file", "write_digit_file"]
