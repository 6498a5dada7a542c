"""PyTorch: a run as a module that needs PyTorch alone, and weights from a state dict.

In: a run, or a file of safetensors. Out: `model.py` with `model.safetensors`, or weights under our
names. Pickle is never read. Writing needs safetensors, not PyTorch. Read export.py, then read.py.
"""

from lstm_lab.interop.pytorch.export import form, write
from lstm_lab.interop.pytorch.read import import_weights

__all__ = ["form", "import_weights", "write"]
