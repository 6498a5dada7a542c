"""Marks of tests that need a compiler for TPUs or GPUs, and small cohorts to compile."""

import importlib.util

import pytest

needs_libtpu = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None,
    reason="no compiler for TPUs: pip install 'lstm-lab[tpu-check]'",
)
needs_cuda = pytest.mark.skipif(
    not any(importlib.util.find_spec(f"jax_cuda{k}_plugin") for k in (12, 13)),
    reason="no compiler for GPUs: pip install 'lstm-lab[cuda-check]'",
)
