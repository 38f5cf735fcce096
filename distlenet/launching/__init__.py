"""Starting jobs of ranks: ``job`` starts, signals and restarts them; ``mpirun`` knows which MPI, and its command line.

``signals`` is what becomes of the signals that the launcher gets, ``scratch`` what a job needs around it.
"""
