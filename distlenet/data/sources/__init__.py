"""The sources of dataset files: published sets, tables, archives, folders of pictures, drawn digits."""
