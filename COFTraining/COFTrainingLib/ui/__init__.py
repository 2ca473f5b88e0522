"""Parts of the COFTraining panel."""
