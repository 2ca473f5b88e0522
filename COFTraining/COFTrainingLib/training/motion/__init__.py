"""Stage 2: from ECG and anatomy to motion."""
