"""Starting jobs of ranks.

``job`` describes one, ``attempt`` starts and watches it, ``restarts`` starts it again if it dies. ``mpirun`` finds the
MPI and builds its command line. ``signals`` handles the launcher's signals; ``scratch`` prepares a job's folders and
environment and cleans up after it. ``door`` lets `distlenet resize` change the number of its ranks.
"""

COMMANDS = ("train", "evaluate", "repeat", "compare", "doctor")  # their ranks work together; others would run n times
