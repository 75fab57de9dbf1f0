"""Speed of the renderer: forward and backward, one core, fp32.  Run: python benchmarks/render.py [--device cuda]

- `depth_grid`: 16 views of a depth grid turned by up to 60° about each axis, without supersampling: unprojection,
  motion, projection, visibility, depth, and the gradient with respect to the depth map. Targets: 40 ms at 64 × 64
  and 150 ms at 128 × 128.
- `depth_grid_2x2`: the same with 2 × 2 supersampling.
- `render`: a whole picture (normals, shading, rasterised depth, sampling) of 8 scenes, gradients with respect to
  depth, albedo, pose and light: what one iteration of the method asks for.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

import torch
from torch import Tensor

from common import machine, measure_rounds, steal_seconds, write_result
from gan2shape.render import (
    Camera,
    Lighting,
    Pose,
    Scene,
    depth_to_vertices,
    grid_faces,
    rasterize_depth,
    render,
)

SEED = 0
TARGETS_MS = {"depth_grid_64": 40, "depth_grid_128": 150}


def head_like_depth(camera: Camera) -> Tensor:
    """A smooth bump before a flat background, (1, 1, S, S)."""
    u, v = (camera.pixel_grid(torch.zeros(())) / (camera.image_size - 1) * 2 - 1).unbind(-1)
    return (1.04 - 0.12 * torch.exp(-3 * (u**2 + v**2)) + 0.005 * torch.sin(9 * u) * torch.cos(7 * v))[None, None]


def random_poses(count: int) -> Pose:
    """Rotations up to 60° about each axis and shifts up to 0.02 scene units."""
    rng = torch.Generator().manual_seed(SEED)
    angles = (torch.rand(count, 3, generator=rng) * 2 - 1) * math.radians(60)
    shift = (torch.rand(count, 3, generator=rng) * 2 - 1) * torch.tensor([0.02, 0.02, 0.0])
    return Pose.from_euler(angles, shift)


def depth_grid(size: int, supersample: int, device: str) -> Callable[[], None]:
    """16 turned views of one depth grid, forward and backward."""
    camera = Camera(size)
    depth = head_like_depth(camera).to(device).requires_grad_()
    poses, faces = random_poses(16).to(device), grid_faces(size, size, device)

    def run() -> None:
        vertices = poses.apply(depth_to_vertices(depth, camera), camera)
        seen = rasterize_depth(vertices, faces, camera, supersample=supersample)
        torch.autograd.grad(seen.sum(), depth)

    return run


def whole_picture(size: int, batch: int, device: str) -> Callable[[], None]:
    """Whole pictures of `batch` different scenes, forward and backward to all factors."""
    camera = Camera(size)
    depth = head_like_depth(camera).repeat(batch, 1, 1, 1).to(device).requires_grad_()
    albedo = torch.zeros(batch, 3, size, size, device=device, requires_grad=True)
    poses = random_poses(batch).to(device)
    poses.rotation.requires_grad_()
    light = torch.full((batch, 1), 0.5, device=device, requires_grad=True)
    direction = torch.nn.functional.normalize(torch.tensor([[0.2, 0.3, 1.0]], device=device), dim=1).expand(batch, 3)
    leaves = (depth, albedo, poses.rotation, light)

    def run() -> None:
        scene = Scene(depth, albedo, poses, Lighting(light, light, direction))
        torch.autograd.grad(render(scene, camera).image.square().mean(), leaves)

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    device = parser.parse_args().device
    torch.set_num_threads(1)
    facts = machine(device, sources="src/gan2shape/render")  # before the timing, so that the load is that of others
    stolen = steal_seconds()
    runs = {f"depth_grid_{size}": depth_grid(size, 1, device) for size in (64, 128)}
    runs |= {f"depth_grid_2x2_{size}": depth_grid(size, 2, device) for size in (64, 128)}
    runs |= {f"render_{size}_batch_8": whole_picture(size, 8, device) for size in (64, 128)}
    timings = measure_rounds(runs, device=device)
    if stolen is not None:
        facts["stolen_by_host_s"] = round((steal_seconds() or stolen) - stolen, 2)
    for name, target in TARGETS_MS.items():
        timings[name] |= {"target_ms": target, "met": timings[name]["median_ms"] <= target}
    result = {
        "benchmark": "render",
        "seed": SEED,
        "dtype": "float32",
        "machine": facts,
        "timings": timings,
    }
    path = write_result("render" if device == "cpu" else f"render_{device}", result)
    for name, timing in timings.items():
        low, high = timing["quartiles_ms"]
        rounds = " ".join(f"{median:.1f}" for median in timing["round_medians_ms"])
        print(f"{name:20s} {timing['median_ms']:7.1f} ms  (quartiles {low:.1f} to {high:.1f}; rounds {rounds})")
    print(f"written to {path.relative_to(path.parents[2])}")


if __name__ == "__main__":
    main()
