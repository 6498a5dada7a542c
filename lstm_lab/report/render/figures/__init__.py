"""The figures of a comparison. Read `draw` for the list, `style` for what all figures share."""
