"""Segmenters: ours, and adapters for others' (nnU-Net folders, MONAI bundles)."""
