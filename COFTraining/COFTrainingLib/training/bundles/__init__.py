"""From a training run to a bundle with its model card."""
