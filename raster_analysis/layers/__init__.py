"""Layers: hosted feature and imagery services."""
