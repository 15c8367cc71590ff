"""Ring 2: what is seen and pressed. Qt through qtpy; no logic, no viewer, no network."""
