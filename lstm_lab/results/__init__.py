"""A study's folder as data: its plan, one row per run, and who works on what. Imports no JAX."""
