"""What a person decides about a read: per finding, and the sign-off of the whole."""
