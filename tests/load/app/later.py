"""What a long request imports at its end."""
