"""Generated motion beside the recorded motion of real hearts."""
