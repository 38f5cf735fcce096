"""What ``distlenet doctor`` finds out about a machine and a launch, and what it advises.

``rank`` is what each process says of itself, ``mpirun`` whether the launcher fits the MPI library,
``advice`` what is wrong and what to do about it, in words. Nothing here prints.
"""
