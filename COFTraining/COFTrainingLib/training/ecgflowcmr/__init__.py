"""Training of the engine that needs no anchor."""
