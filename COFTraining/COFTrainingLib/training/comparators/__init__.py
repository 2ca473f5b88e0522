"""Comparators of two families of the literature, made small: cines, slice by slice, from a still image and an ECG.

They learn on the same cohort by the same loop as the product's flow, hear the same frozen ECG encoder, and see images
where ours sees anatomy. ``latent_flow``: diffusion of a latent flow that warps the features of the still image.
``ecg_tokens``: a transformer that fills in masked video tokens under the ECG.
"""
