"""The dataset file: its header, reading it, writing it; and HDF5 files of unknown origin."""
