"""Datasets: files of digits, drawn digits, the plan of a run, augmentation. numpy and HDF5, no MPI, no terminal."""
