"""Results as files: pictures, views, meshes, points, voxels, and the folder of them all. One file per format."""

from gan2shape.export.folder import Exportable as Exportable
from gan2shape.export.folder import export_result as export_result
