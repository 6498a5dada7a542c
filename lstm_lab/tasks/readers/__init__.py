"""From files to arrays, shared by all tasks.

sources: addresses and hashes of data sets. prepare: converts the files of publishers. download:
finds a file, or downloads it. text, tables, records: read its content. labels, splits: turn what
was read into the splits of a `Dataset`. Read splits.py first.
"""
