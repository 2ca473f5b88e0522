"""What is measured of a cine, given a reference: image, anatomy, function, regions, motion, distributions."""
