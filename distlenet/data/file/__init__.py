"""The dataset file: its header, reading and writing it; and untrusted HDF5 files."""
