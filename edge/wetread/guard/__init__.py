"""Is this what the model was made for? One module for each kind of check; a refusal says what was found and expected."""
