"""Files that an export copies into its folder: models and cells that run without lstm_lab.

Each file needs its own framework alone. `export_text.py` writes the equations of a cell into the
files of cells. Read keras_cell.py first, the shortest.
"""
