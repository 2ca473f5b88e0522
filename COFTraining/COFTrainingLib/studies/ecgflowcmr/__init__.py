"""Studies of the engine that needs no anchor."""
