"""Parity with other libraries: `make parity` installs them; if one is missing, its tests fail.

PyTorch has no small build for Python 3.12 and later, so its part may be skipped there.
"""

import os

import jax
import pytest

os.environ.setdefault("KERAS_BACKEND", "jax")


@pytest.fixture(autouse=True)
def peers_promote_ranks():
    """Allows rank promotion, which other libraries use and our tests forbid."""
    with jax.numpy_rank_promotion("allow"):
        yield
