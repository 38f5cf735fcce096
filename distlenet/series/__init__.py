"""Many runs in one directory: what ``repeat`` and ``compare`` train, and what came of it."""
