"""Starting jobs of ranks.

``job`` starts, signals and restarts them; ``mpirun`` finds the MPI and builds its command line. ``signals`` handles the
launcher's signals; ``scratch`` prepares a job's folders and environment and cleans up after it.
"""
