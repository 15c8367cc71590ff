"""A site's own signed reads as labelled images: by opt-in, pseudonymised, withdrawable (decision 0019)."""
