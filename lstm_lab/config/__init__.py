"""What defines a run: its settings, where they come from, what they may be, and its ids."""
