"""Training of every network, by stage."""
