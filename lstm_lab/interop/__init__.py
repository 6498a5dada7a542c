"""Weights and models in and out: `lstm-lab export` and `lstm-lab import`.

    import lstm_lab as ll

    ll.load_run("runs/adding").export("torch")
    weights = ll.interop.import_weights("lstm.safetensors", "torch", "adding:lstm")

The names below are imported at their first use: a target needs the package of its framework, and
the core of lstm_lab needs none of them. Read export.py and portable.py next.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lstm_lab.interop.equinox_models import to_equinox
    from lstm_lab.interop.export import export_run
    from lstm_lab.interop.flax_models import to_nnx
    from lstm_lab.interop.sources import SOURCES, import_weights
    from lstm_lab.interop.targets import TARGETS, ExportOptions

# Public names by the module that defines them, as in lstm_lab/__init__.py.
_NAMES = {
    "lstm_lab.interop.equinox_models": ("to_equinox",),
    "lstm_lab.interop.export": ("export_run",),
    "lstm_lab.interop.flax_models": ("to_nnx",),
    "lstm_lab.interop.sources": ("SOURCES", "import_weights"),
    "lstm_lab.interop.targets": ("TARGETS", "ExportOptions"),
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names}

__all__ = [
    "SOURCES",
    "TARGETS",
    "ExportOptions",
    "export_run",
    "import_weights",
    "to_equinox",
    "to_nnx",
]


def __getattr__(name: str) -> Any:
    """Imports a public name at its first use."""
    if name not in _MODULES:
        raise AttributeError(f"module 'lstm_lab.interop' has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return list(__all__)
