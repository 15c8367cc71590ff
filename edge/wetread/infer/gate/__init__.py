"""Does an engine give the reference answer? The gate, its measures and its cases."""
