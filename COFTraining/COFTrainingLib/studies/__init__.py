"""Studies of finished models."""
