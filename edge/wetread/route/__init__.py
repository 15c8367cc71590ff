"""Which bundles read a study, which series feed them, and why the others do not."""
