"""Flax modules: from tokens or vectors to logits."""
