"""Studies: axes to specs, specs to cohorts, where they run, how far they are."""
