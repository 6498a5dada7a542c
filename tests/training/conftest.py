"""A small text on which language models train."""

import numpy as np
import pytest

from tests.helpers.training import TEXT


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    rng = np.random.default_rng(0)
    path.write_text("".join(rng.permutation(list(TEXT))))
    return path
