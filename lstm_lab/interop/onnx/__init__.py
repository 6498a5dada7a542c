"""Export to ONNX: whole models as files for ONNX Runtime.

`form` and `write` are the target `onnx`; see targets.py. A layer is one of ONNX' own operators if
they have its equations (operators.py), else a Scan over time with the equations of the cell
(scan.py). Read export.py next.
"""

from lstm_lab.interop.onnx.export import form, write

__all__ = ["form", "write"]
