"""Evaluation of a model, or of anyone's cines, on a cohort, beside all baselines."""
