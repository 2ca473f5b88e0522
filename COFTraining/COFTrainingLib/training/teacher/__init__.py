"""Stage 1: the registration teacher."""
