"""Inference: tiles, the one loop, merging, suppression. No GDAL and no torch in here."""
