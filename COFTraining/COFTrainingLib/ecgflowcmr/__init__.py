"""Training and evaluation of ECGFlowCMR: PA-MAE, 3-D VAE, plane segmenter, AMDF; what its synthetic cines are worth."""
