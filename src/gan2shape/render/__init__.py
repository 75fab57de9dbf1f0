"""The renderer: pure, differentiable functions that need torch and nothing else.

A canonical depth map is a surface; it is lit (shading), moved (pose), seen (rasterize) and read back (warp).
`Scene` holds the four factors of a picture, `render` makes the picture.
"""

from gan2shape.render.camera import Camera as Camera
from gan2shape.render.depth import DepthRange as DepthRange
from gan2shape.render.pose import Pose as Pose
from gan2shape.render.rasterize import Fragments as Fragments
from gan2shape.render.rasterize import Rasterizer as Rasterizer
from gan2shape.render.rasterize import rasterize as rasterize
from gan2shape.render.rasterize import rasterize_depth as rasterize_depth
from gan2shape.render.rasterize import render_attributes as render_attributes
from gan2shape.render.scene import Scene as Scene
from gan2shape.render.scene import mirror as mirror
from gan2shape.render.scene import render as render
from gan2shape.render.shading import Lighting as Lighting
from gan2shape.render.shading import diffuse_shading as diffuse_shading
from gan2shape.render.shading import shade as shade
from gan2shape.render.shading import shading as shading
from gan2shape.render.shading import unshade as unshade
from gan2shape.render.surface import depth_to_vertices as depth_to_vertices
from gan2shape.render.surface import grid_faces as grid_faces
from gan2shape.render.surface import normals_from_depth as normals_from_depth
from gan2shape.render.warp import Rendering as Rendering
from gan2shape.render.warp import canonical_grid as canonical_grid
from gan2shape.render.warp import forward_grid as forward_grid
from gan2shape.render.warp import render_textured as render_textured
from gan2shape.render.warp import reproject as reproject
from gan2shape.render.warp import sample_image as sample_image
from gan2shape.render.warp import view_depth as view_depth
