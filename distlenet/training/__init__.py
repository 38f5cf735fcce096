"""Training: the loop and its steps. It does not depend on files, on the terminal or on the MPI in use."""
