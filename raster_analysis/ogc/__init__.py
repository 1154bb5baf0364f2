"""OGC API - Processes and Features over the same tools, jobs and results as the ArcGIS dialect."""
