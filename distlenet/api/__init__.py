"""The Python interface: what ``import distlenet`` offers, loaded when it is used. A file for each subject."""
