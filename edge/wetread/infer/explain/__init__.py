"""Where in a film a model looked."""
