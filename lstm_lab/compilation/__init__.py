"""Programs compiled for a machine that need not be here, and what they would do on it."""
