"""Training: state, step, mapping over members and devices, loop, checkpoints, record."""
