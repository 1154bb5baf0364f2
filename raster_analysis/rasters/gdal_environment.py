"""GDAL's environment, pinned: what it may open, keep in memory and reach, in every process that loads it.

GDAL reads these variables when its drivers are registered, so they must be set before rasterio or
pyogrio is imported. Defaults move between releases; hence every value that matters is written out.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from types import MappingProxyType

from raster_analysis.errors import RasterAnalysisError
from raster_analysis.rasters.signatures import FEATURES, RASTERS

ALLOWED_DRIVERS = frozenset({*RASTERS, *FEATURES, "COG", "MEM", "Memory"})
"""MEM is how GDAL passes arrays around; COG and the vector formats are what is written."""

# Every driver known to GDAL 3.10 - 3.12 builds (both wheels and distributions) but the allowed ones.
# A later release may bring more: `verify` finds them.
_OTHER_DRIVERS = """
AAIGrid,ACE2,ADBC,ADRG,AIG,AIVector,AVCBin,AVCE00,AVIF,AirSAR,AmigoCloud,Arrow,BAG,BASISU,BIGGIF,BLX,BMP,BSB,BT,BYN,
CAD,CALS,CEOS,COASP,COSAR,CPG,CSV,CSW,CTG,CTable2,Carto,DAAS,DDS,DERIVED,DGN,DGNv8,DIMAP,DIPEx,DOQ1,DOQ2,DTED,DWG,DXF,
ECRGTOC,ECW,EDIGEO,EEDA,EEDAI,EHdr,EIR,ELAS,ENVI,ERS,ESAT,ESRIC,ESRIJSON,EXR,Elasticsearch,FAST,FIT,FITS,GDALG,GFF,
GIF,GML,GMLAS,GNMDatabase,GNMFile,GPSBabel,GPX,GRASSASCIIGrid,GRIB,GS7BG,GSAG,GSBG,GSC,GTFS,GTI,GTX,GXF,GenBin,
GeoJSONSeq,GeoRSS,GeoRaster,HANA,HDF4,HDF4Image,HDF5,HDF5Image,HEIF,HF2,HTTP,ILWIS,IRIS,ISCE,ISG,ISIS2,ISIS3,Idrisi,
Interlis 1,Interlis 2,JAXAPALSAR,JDEM,JML,JP2ECW,JP2KAK,JP2Lura,JP2MrSID,JPEG2000,JPEGXL,JPIPKAK,JSONFG,KEA,KML,
KMLSUPEROVERLAY,KRO,KTX2,L1B,LAN,LCP,LIBERTIFF,LIBKML,LOSLAS,LVBAG,Leveller,MAP,MBTiles,MFF,MFF2,MG4Lidar,MRF,MSGN,
MSSQLSpatial,MVT,MapInfo File,MapML,MiraMonRaster,MiraMonVector,MongoDBv3,MrSID,MySQL,NAS,NDF,NGSGEOID,NGW,NOAA_B,
NSIDCbin,NTv2,NULL,NWT_GRC,NWT_GRD,OAPIF,OCI,ODBC,ODS,OGCAPI,OGDI,OGR_GMT,OGR_PDS,OGR_VRT,OSM,OZI,OpenFileGDB,
OpenJPEG,PAux,PCIDSK,PCRaster,PDF,PDS,PDS4,PGDUMP,PGeo,PLMOSAIC,PLSCENES,PMTiles,PNM,PRF,PostGISRaster,PostgreSQL,R,
RCM,RDB,RIK,RMF,ROI_PAC,RPFTOC,RRASTER,RS2,RST,Rasterlite,S102,S104,S111,S57,SAFE,SAGA,SAR_CEOS,SDTS,SENTINEL2,SGI,
SIGDEM,SNAP_TIFF,SNODAS,SOSI,SQLite,SRP,SRTMHGT,STACIT,STACTA,SXF,Selafin,TGA,TIL,TSX,Terragen,TileDB,TopoJSON,
USGSDEM,VDV,VFK,VICAR,VRT,WAsP,WCS,WEBP,WFS,WMS,WMTS,Walk,XLS,XLSX,XODR,XPM,XYZ,ZMap,Zarr,netCDF
"""

CACHE_BYTES = 128 * 1024**2
"""GDAL's block cache: two rows of 512 px tiles of an RGB raster 40,000 px wide."""

READING_OPTIONS = MappingProxyType(
    {
        "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
        "GDAL_PAM_ENABLED": "NO",
    }
)
"""What keeps files beside a raster (.ovr, .aux.xml, .msk, .tfw) from being used; can be set at any time."""

GDAL_ENVIRONMENT = MappingProxyType(
    {
        **READING_OPTIONS,
        "GDAL_SKIP": _OTHER_DRIVERS.replace("\n", ""),
        "GDAL_DRIVER_PATH": "disable",
        "GDAL_VRT_ENABLE_PYTHON": "NO",
        "GDAL_VRT_ENABLE_RAWRASTERBAND": "NO",
        "CPL_VSIL_CURL_HEADER_FILE_KVP_ENABLED": "NO",
        "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": ".none",
        "GDAL_HTTP_TIMEOUT": "5",
        "GDAL_HTTP_CONNECTTIMEOUT": "5",
        "AWS_EC2_METADATA_DISABLED": "true",
        "PROJ_NETWORK": "OFF",
        "OGR_SQLITE_LOAD_EXTENSIONS": "NO",
        "GDAL_CACHEMAX": str(CACHE_BYTES),
        # GDAL prints a line to stderr for each skipped driver that this build never had, and for each
        # error that rasterio and pyogrio turn into exceptions anyway.
        "CPL_LOG": "/dev/null",
    }
)


class UnsafeGdal(RasterAnalysisError):
    """GDAL was loaded with drivers that this process must not have."""


def apply(environ: MutableMapping[str, str]) -> None:
    """Pin GDAL's variables in `environ` (that of this process, before GDAL is imported, or of a child)."""
    environ.update(GDAL_ENVIRONMENT)


def verify() -> dict[str, str]:
    """Return the GDAL version of each library, having made sure that neither has other drivers.

    Raises:
        UnsafeGdal: `apply` came too late, or this GDAL is newer than the list of drivers.
    """
    found = {"rasterio": _rasterio_drivers(), "pyogrio": _pyogrio_drivers()}
    faults = [
        f"{library} has {', '.join(sorted(drivers - ALLOWED_DRIVERS))}"
        for library, (_, drivers) in found.items()
        if drivers - ALLOWED_DRIVERS
    ]
    if faults:
        raise UnsafeGdal(f"GDAL drivers are loaded that must be skipped: {'; '.join(faults)}")
    return {library: version for library, (version, _) in found.items()}


def _rasterio_drivers() -> tuple[str, set[str]]:
    import rasterio  # noqa: PLC0415 - importing GDAL is what this module must not do on its own

    with rasterio.Env() as environment:
        return rasterio.__gdal_version__, set(environment.drivers())


def _pyogrio_drivers() -> tuple[str, set[str]]:
    import pyogrio  # noqa: PLC0415 - as above

    return pyogrio.__gdal_version_string__, set(pyogrio.list_drivers())
