"""Studies, one file each, and two scripts that draw a figure; installed as `lstm_lab.experiments`.

`lstm-lab list studies` lists them; `lstm-lab reproduce NAME` runs one. `results/` has archived
results.
"""
