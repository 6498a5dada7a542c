"""Export to a page for the browser, which runs the model by ONNX Runtime's build for the web.

`form` and `write` are the target `web`; see targets.py. Read export.py next.
"""

from lstm_lab.interop.web.export import form, write

__all__ = ["form", "write"]
