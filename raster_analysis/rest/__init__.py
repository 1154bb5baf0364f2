"""The ArcGIS REST dialect: the only room that knows HTTP."""
