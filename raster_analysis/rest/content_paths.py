"""The paths of the portal's content. Those of a user's item exist with and without a folder in them."""

from __future__ import annotations

from raster_analysis.rest.urls import SHARING

CONTENT = f"{SHARING}/rest/content"
ITEM = f"{CONTENT}/items/{{id}}"
HOME = f"{CONTENT}/users/{{user}}"
PLACES = (HOME, f"{HOME}/{{folder}}")
"""Clients put the folder into the path once an item lies in one (contract 4.2)."""
OWN_ITEMS = tuple(f"{place}/items/{{id}}" for place in PLACES)
