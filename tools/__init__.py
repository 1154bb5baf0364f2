"""One geoprocessing task a file; ships as `raster_analysis.tools`."""
