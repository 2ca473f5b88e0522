"""The methods that are compared: the model and its variants, baselines without an ECG, and anyone's predictions."""
