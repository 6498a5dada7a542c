"""Weights and models in and out: `lstm-lab export` and `lstm-lab import`.

The extra `interop` brings safetensors and ONNX; PyTorch, Keras and Equinox are imported only for
their own targets. Read export.py and portable.py next.
"""

from lstm_lab.interop.export import export_run
from lstm_lab.interop.targets import TARGETS, ExportOptions

__all__ = ["TARGETS", "ExportOptions", "export_run"]
