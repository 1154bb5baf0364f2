"""Synthetic orthophotos with known land cover, tree crowns and buildings, of any size and from a seed."""

from scene.landscape import CANOPY, COUNTRY, Date, LandCover, Theme
from scene.noise import Window
from scene.scene import Picture, Scene

__all__ = ["CANOPY", "COUNTRY", "Date", "LandCover", "Picture", "Scene", "Theme", "Window"]
