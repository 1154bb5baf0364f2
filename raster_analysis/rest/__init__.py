"""HTTP, and the ArcGIS REST dialect; `ogc` speaks another over the same endpoints."""
