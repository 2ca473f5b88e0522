"""Training of the ECG encoder."""
