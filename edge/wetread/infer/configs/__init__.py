"""A bundle's config, read and adapted to this machine before anything of it is made."""
