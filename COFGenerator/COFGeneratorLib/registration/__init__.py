"""Motion of a real cine: registration of one of its frames to all others, with the same outputs as a generation."""
