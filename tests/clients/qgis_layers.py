"""Loads result layers with PyQGIS, unmodified, and draws them: `python3 qgis_layers.py REQUEST_JSON`.

Run by the interpreter that QGIS was installed for, without a screen. Prints what QGIS sees, as JSON.
"""

import json
import os
import sys

os.environ["QT_QPA_PLATFORM"] = "offscreen"

from qgis.core import (
    QgsApplication,
    QgsAuthMethodConfig,
    QgsCoordinateTransform,
    QgsMapRendererParallelJob,
    QgsMapSettings,
    QgsProject,
    QgsRasterLayer,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QSize
from qgis.PyQt.QtGui import QColor


def main(request):
    application = QgsApplication([], False)
    application.initQgis()
    print(json.dumps(look(request)), flush=True)
    # Leaving the usual way, QGIS takes down what Python still holds, and crashes.
    os._exit(0)


def look(request):
    account = add_account(request["token"])
    source = f"url='{request['features']}' crs='{request['crs']}' authcfg='{account}'"
    features = QgsVectorLayer(source, "features", "arcgisfeatureserver")
    source = f"url='{request['collections']}' typename='{request['collection']}' authcfg={account}"
    collection = QgsVectorLayer(source, "collection", "OAPIF")
    source = f"url='{request['image']}' crs='{request['crs']}' format='PNG32' layer='' authcfg='{account}'"
    image = QgsRasterLayer(source, "image", "arcgismapserver")
    return {
        "features": describe_vector(features),
        "collection": describe_vector(collection),
        "image": describe(image),
        "drawn": draw([features, image], request["picture"]),
    }


def add_account(token):
    manager = QgsApplication.authManager()
    manager.setMasterPassword("of a throw-away profile", True)
    account = QgsAuthMethodConfig("EsriToken")
    account.setName("result layers")
    account.setConfig("token", token)
    manager.storeAuthenticationConfig(account)
    return account.id()


def describe(layer):
    extent = layer.extent()
    return {
        "valid": layer.isValid(),
        "error": layer.error().message(),
        "crs": layer.crs().authid(),
        "extent": [extent.xMinimum(), extent.yMinimum(), extent.xMaximum(), extent.yMaximum()],
    }


def describe_vector(layer):
    found = list(layer.getFeatures()) if layer.isValid() else []
    names = [field.name() for field in layer.fields()]
    label = layer.fields().lookupField("Class")
    return describe(layer) | {
        "count": layer.featureCount(),
        "read": len(found),
        "area": sum(feature.geometry().area() for feature in found),
        "fields": names,
        "classes": sorted({feature.attributes()[label] for feature in found}) if label >= 0 else [],
        "renderer": layer.renderer().type() if layer.renderer() else None,
    }


def draw(layers, path):
    """Draw the layers over each other and return how many different colours there are."""
    settings = QgsMapSettings()
    settings.setLayers(layers)
    settings.setBackgroundColor(QColor(255, 255, 255))
    settings.setOutputSize(QSize(512, 512))
    settings.setDestinationCrs(layers[0].crs())
    context = QgsProject.instance().transformContext()
    to_map = QgsCoordinateTransform(layers[1].crs(), layers[0].crs(), context)
    settings.setExtent(to_map.transformBoundingBox(layers[1].extent()))
    job = QgsMapRendererParallelJob(settings)
    job.start()
    job.waitForFinished()
    picture = job.renderedImage()
    picture.save(path)
    colors = {picture.pixel(x, y) for x in range(0, 512, 4) for y in range(0, 512, 4)}
    return {"colors": len(colors), "errors": [error.message for error in job.errors()]}


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
