"""What this machine reaches: the real training loop on made-up pictures, beside PyTorch where installed."""
