"""Training: the loop and what a step needs. Knows no files, no terminal, and not which MPI there is."""
