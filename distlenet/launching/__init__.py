"""Starting jobs of ranks.

``job`` starts, signals and restarts them; ``mpirun`` finds the MPI and builds its command line. ``signals`` handles the
launcher's signals; ``scratch`` prepares a job's folders and environment and cleans up after it.
"""

COMMANDS = ("train", "evaluate", "repeat", "compare", "doctor")  # their ranks work together; others would run n times
