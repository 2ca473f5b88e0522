"""The mathematics of fields: velocity to displacement, warping, composition, volume."""
