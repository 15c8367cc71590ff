"""Model outputs to coded findings and measurements: what the read says, before any encoding."""
