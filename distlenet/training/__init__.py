"""Training: the loop, checkpoints, evaluation. Knows neither the terminal nor which MPI there is."""
