"""Rasters: from a user's reference to pixels, and from blocks to a verified COG."""
