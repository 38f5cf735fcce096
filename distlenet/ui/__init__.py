"""What a user sees: displays, tables, views of results."""
