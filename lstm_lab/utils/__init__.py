"""Errors, files, progress and tables: nothing about machine learning."""
