"""Ring 1: what is known of a study and what may be done now. Standard library only; no Qt, no viewer."""
