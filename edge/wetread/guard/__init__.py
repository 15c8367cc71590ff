"""Is this what the model was made for? One module for each kind of check; each refuses with what was found and expected."""
