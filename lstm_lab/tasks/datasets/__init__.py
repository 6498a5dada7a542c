"""The tasks, one file per family of data sets.

A file has the task (a dataclass of its options) and the readers that only it needs. Tasks for a
user's own files also have `options(FILE)`, which reads the options that depend on the data, such as
labels and vocabulary size. digits.py is the shortest example.
"""
