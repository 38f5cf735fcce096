"""One run around its loop: from its options to its summary, and all that it reads and writes in its directory."""
