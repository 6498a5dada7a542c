"""Statistics, tables, figures and pages of finished studies, from their folders alone.

Read `runs` (what a study's folder contains), `comparison` (all numbers of a report), then `render`.
Nothing here imports JAX or `lstm_lab.studies`, so a report can be built on a machine without
either.
"""
