"""Datasets: their files (``file``), what they are made of (``sources``), the plan of a run, augmentation.

numpy and HDF5, no MPI, no terminal.
"""
