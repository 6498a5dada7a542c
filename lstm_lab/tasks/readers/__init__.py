"""From files to arrays: download, text, tables, records, labels and splits, shared by all tasks."""
