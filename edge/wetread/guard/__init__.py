"""Is this what the model was made for? A refusal says what was found and what was expected."""
