"""distlenet: a multi-process, data-parallel trainer of a pure-numpy LeNet-5."""

__version__ = "0.1.0"
