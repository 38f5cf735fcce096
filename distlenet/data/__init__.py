"""Datasets: their files (``file``), their sources (``sources``), the plan of a run, augmentation.

Uses numpy and HDF5, no MPI, no terminal.
"""
