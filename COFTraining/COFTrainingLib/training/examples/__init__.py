"""What Stage 2 learns from: motion with anatomy and ECG, of phantoms and of recorded cines."""
