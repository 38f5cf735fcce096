"""The user interface: displays, tables, and views of results."""
