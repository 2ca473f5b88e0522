"""One set of colours for all pictures."""

BACKGROUND = "#0b0e14"
PANEL = "#10151f"
TEXT = "#e8ebf2"
MUTED = "#8d97ab"
FAINT = "#2a3242"
LV = "#ff6b6b"
EPICARDIUM = "#ffd166"
RV = "#4cc9f0"
ECG = "#9be9a8"
WARNING = "#ffb454"

MARK = "SYNTHETIC  ·  RESEARCH USE ONLY"
"""Stands on every picture: nothing generated may be taken for an acquired image."""


def rgb(colour: str) -> tuple[int, int, int]:
    """Return a ``#rrggbb`` colour as three integers 0…255."""
    red, green, blue = bytes.fromhex(colour[1:])
    return red, green, blue
