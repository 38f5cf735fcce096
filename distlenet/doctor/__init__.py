"""The checks of ``distlenet doctor`` on a machine and a launch, and its advice.

``rank`` describes each process, ``mpirun`` checks whether the launcher fits the MPI library, and ``advice`` explains
problems and solutions. Nothing here prints.
"""
