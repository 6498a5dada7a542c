"""Parity with other libraries: `make parity` installs them; if one is missing, its tests fail.

PyTorch has no small build for the newest Python, so its part runs on Python 3.11.
"""

import os
import sys

import jax
import pytest

os.environ.setdefault("KERAS_BACKEND", "jax")

collect_ignore = ["test_torch.py", "test_torch_export.py"] if sys.version_info >= (3, 12) else []


@pytest.fixture(autouse=True)
def peers_promote_ranks():
    """Allows rank promotion, which other libraries use and our tests forbid."""
    with jax.numpy_rank_promotion("allow"):
        yield
