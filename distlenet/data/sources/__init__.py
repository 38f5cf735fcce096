"""What dataset files are made of: published sets, tables, archives, folders of pictures, drawn digits."""
