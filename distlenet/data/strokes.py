"""The drawn digits under their other name."""

from distlenet.data.sources.drawing import draw_digits

__all__ = ["draw_digits"]
