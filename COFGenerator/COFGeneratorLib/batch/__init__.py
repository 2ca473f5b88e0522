"""The script that runs `cof batch` from the Slicer application without a window."""
