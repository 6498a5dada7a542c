"""A comparison as tables, figures, a page and files."""
