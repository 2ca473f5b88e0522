"""The synthetic patient: physiology, beating heart, MR image and electrocardiogram, in closed form."""
