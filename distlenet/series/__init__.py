"""Many runs in one directory: the series that ``repeat`` and ``compare`` train, and their results."""
