"""The model on held-out phantoms, beside baselines and floors."""
