"""lstm_lab: a JAX/Flax laboratory for LSTM research."""

__version__ = "0.1.0"
