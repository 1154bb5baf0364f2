"""`python -m raster_analysis` is the `raster-analysis` command."""

from raster_analysis.cli import main

main()
