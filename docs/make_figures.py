"""Draw docs/images/conventions.png: axes, pose signs, light directions and normals, rendered by the package itself.

python docs/make_figures.py
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from gan2shape.io.images import to_uint8
from gan2shape.render import Camera, Lighting, Pose, Scene, render

OUTPUT = Path(__file__).parent / "images" / "conventions.png"
WIDTH, MARGIN = 1180, 20
OVERSAMPLE = 2
"""Lines are drawn at this many times the size and shrunk, because Pillow draws without smoothing."""
INK, FAINT, BLUE, RED = (30, 30, 36), (150, 150, 158), (36, 96, 200), (200, 60, 40)
CELL, TURN_DEG = 176, 25.0

Point = tuple[float, float]


class Paper:
    """A white sheet on which everything is given in pixels of the finished picture."""

    def __init__(self, width: int, height: int) -> None:
        self.picture = Image.new("RGB", (width * OVERSAMPLE, height * OVERSAMPLE), "white")
        self.pen = ImageDraw.Draw(self.picture)

    def line(self, points: Sequence[Point], colour: tuple[int, int, int] = INK, width: float = 1.5) -> None:
        """A line through points."""
        self.pen.line([(x * OVERSAMPLE, y * OVERSAMPLE) for x, y in points], colour, round(width * OVERSAMPLE))

    def arrow(self, tail: Point, head: Point, colour: tuple[int, int, int] = INK, width: float = 2.0) -> None:
        """A line from `tail` with a point at `head`."""
        self.line([tail, head], colour, width)
        angle = math.atan2(head[1] - tail[1], head[0] - tail[0])
        for side in (-1, 1):
            back = angle + math.pi + side * 0.45
            self.line([head, (head[0] + 9 * math.cos(back), head[1] + 9 * math.sin(back))], colour, width)

    def dot(self, centre: Point, radius: float, colour: tuple[int, int, int] = INK) -> None:
        """A filled disc."""
        (x, y), r = centre, radius
        self.pen.ellipse([value * OVERSAMPLE for value in (x - r, y - r, x + r, y + r)], fill=colour)

    def text(
        self, place: Point, words: str, *, size: int = 15, colour: tuple[int, int, int] = INK, anchor: str = "la"
    ) -> None:
        """Words, by default below and right of `place`."""
        font = ImageFont.load_default(size * OVERSAMPLE)
        self.pen.text((place[0] * OVERSAMPLE, place[1] * OVERSAMPLE), words, colour, font, anchor)

    def paste(self, image: Tensor, place: Point, side: int) -> None:
        """A signed picture (1, 3, S, S), enlarged to `side` pixels."""
        enlarged = Image.fromarray(to_uint8(image)).resize((side * OVERSAMPLE,) * 2, Image.Resampling.BICUBIC)
        self.picture.paste(enlarged, (round(place[0] * OVERSAMPLE), round(place[1] * OVERSAMPLE)))

    def finished(self) -> Image.Image:
        """The sheet at its final size."""
        width, height = self.picture.size
        return self.picture.resize((width // OVERSAMPLE, height // OVERSAMPLE), Image.Resampling.LANCZOS)


def toy_head(camera: Camera) -> Scene:
    """An egg with a nose, two eyes and one red cheek (at image-left), lit from the camera."""
    u, v = (camera.pixel_grid(torch.zeros(())) / (camera.image_size - 1) * 2 - 1).unbind(-1)
    inside = (u / 0.5).square() + (v / 0.68).square()
    nose = 0.012 * torch.exp(-((u / 0.09).square() + ((v - 0.08) / 0.16).square()))
    depth = torch.where(inside < 1, 1.01 - 0.045 * (1 - inside).clamp(min=0).sqrt() - nose, 1.01)
    albedo = torch.full((3, *u.shape), 0.55)
    for centre in (-0.2, 0.2):
        albedo[:, (u - centre).square() + (v + 0.16).square() < 0.055**2] = -0.85
    albedo[:, (u / 0.15).square() + ((v - 0.4) / 0.035).square() < 1] = -0.5
    cheek = (u + 0.26).square() + (v - 0.14).square() < 0.075**2
    albedo[:, cheek] = torch.tensor([0.9, -0.3, -0.3])[:, None]
    albedo[:, inside >= 1] = 0.95
    return Scene(depth[None, None], albedo[None], Pose.identity(1, depth), light(0, 0, 1))


def light(x: float, y: float, z: float) -> Lighting:
    """A light that travels along (x, y, z)."""
    direction = torch.nn.functional.normalize(torch.tensor([[x, y, z]], dtype=torch.float32), dim=1)
    return Lighting(torch.tensor([[0.3]]), torch.tensor([[0.65]]), direction)


def turned(pitch: float = 0.0, yaw: float = 0.0, roll: float = 0.0, x: float = 0.0, y: float = 0.0) -> Pose:
    """A pose from degrees and scene units."""
    angles = torch.deg2rad(torch.tensor([[pitch, yaw, roll]]))
    return Pose.from_euler(angles, torch.tensor([[x, y, 0.0]]))


def draw_picture_plane(paper: Paper, left: float, top: float) -> None:
    """Pixels, and the axes as the picture shows them."""
    paper.text((left, top), "In the picture: x right, y down, z away from you", size=16)
    x0, y0, step = left + 52.0, top + 62.0, 34.0
    for row in range(5):
        for column in range(5):
            paper.dot((x0 + column * step, y0 + row * step), 2.5, FAINT)
    half = step / 2
    for index in range(6):
        paper.line([(x0 - half + index * step, y0 - half), (x0 - half + index * step, y0 + 4.5 * step)], FAINT, 0.7)
        paper.line([(x0 - half, y0 - half + index * step), (x0 + 4.5 * step, y0 - half + index * step)], FAINT, 0.7)
    paper.arrow((x0, y0), (x0 + 5.4 * step, y0), BLUE)
    paper.arrow((x0, y0), (x0, y0 + 5.4 * step), BLUE)
    paper.text((x0 + 5.5 * step, y0 - 9), "x, u = column", colour=BLUE)
    paper.text((x0 - 40, y0 + 5.5 * step), "y, v = row", colour=BLUE)
    paper.text((x0 + 5.5 * step, y0 + 24), "pixel centres are whole", size=13)
    paper.text((x0 + 5.5 * step, y0 + 42), "numbers, 0 to S-1;", size=13)
    paper.text((x0 + 5.5 * step, y0 + 60), "as -1 to 1, the corner", size=13)
    paper.text((x0 + 5.5 * step, y0 + 78), "centres are -1 and 1", size=13)


def draw_from_above(paper: Paper, left: float, top: float) -> None:
    """Camera, depth range, surface, normals and a light, looking down along y (not to scale)."""
    paper.text((left, top), "From above (not to scale): the camera looks along z", size=16)
    middle, bottom = left + 215.0, top + 300.0
    levels = {"0.9 near": 120.0, "1.0 pivot": 170.0, "1.1 far": 220.0, "1.2 not hit": 262.0}
    for name, height in levels.items():
        paper.line([(left + 84, bottom - height), (left + 370, bottom - height)], FAINT, 0.8)
        paper.text((left + 78, bottom - height), name, size=13, colour=FAINT, anchor="rm")
    for side in (-1, 1):
        paper.line([(middle, bottom), (middle + side * 118, bottom - 268)], FAINT, 1.0)
    paper.dot((middle, bottom), 6)
    paper.text((middle + 14, bottom - 8), "camera, field of view 10°", size=13)
    paper.dot((middle, bottom - 170), 4)
    radius_x, radius_z, rim = 80.0, 78.0, 208.0
    arc = [math.radians(angle) for angle in range(-90, 91, 3)]
    surface = [(middle + radius_x * math.sin(a), bottom - rim + radius_z * math.cos(a)) for a in arc]
    paper.line(surface, INK, 2.5)
    for degrees in (-60, -28, 0, 28, 60):
        a = math.radians(degrees)
        foot = (middle + radius_x * math.sin(a), bottom - rim + radius_z * math.cos(a))
        inward = (-math.sin(a) / radius_x, -math.cos(a) / radius_z)
        length = 32 / math.hypot(*inward)
        paper.arrow(foot, (foot[0] + inward[0] * length, foot[1] + inward[1] * length), RED, 1.6)
    paper.text((middle + 96, bottom - 196), "normals: +z, into the", size=13, colour=RED)
    paper.text((middle + 96, bottom - 182), "object, away from you", size=13, colour=RED)
    paper.arrow((left + 96, bottom - 60), (left + 134, bottom - 98), BLUE, 2.4)
    paper.text((left + 4, bottom - 50), "light (1, 0, 1) travels this way", size=13, colour=BLUE)
    paper.text((left + 4, bottom - 34), "and lights what faces left", size=13, colour=BLUE)
    paper.arrow((left + 330, bottom - 50), (left + 372, bottom - 50), INK)
    paper.arrow((left + 330, bottom - 50), (left + 330, bottom - 92), INK)
    paper.text((left + 376, bottom - 58), "x", size=15)
    paper.text((left + 325, bottom - 112), "z", size=15)


def draw_row(paper: Paper, top: float, title: str, cells: Sequence[tuple[str, str, Tensor]]) -> None:
    """A title and pictures (first line, second line, image) below it."""
    paper.text((MARGIN, top), title, size=16)
    for index, (name, meaning, image) in enumerate(cells):
        left = MARGIN + index * (CELL + 16)
        paper.paste(image, (left, top + 26), CELL)
        paper.text((left, top + 30 + CELL), name, size=14)
        paper.text((left, top + 48 + CELL), meaning, size=13, colour=FAINT)


def main() -> None:
    """Draw the sheet and write it."""
    camera = Camera(192)
    head = toy_head(camera)

    def seen(pose: Pose | None = None, lighting: Lighting | None = None) -> Tensor:
        view = render(head.with_(pose=pose, lighting=lighting), camera, supersample=2)
        return torch.where(view.mask > 0, view.image, torch.ones_like(view.image))

    half = light(0.4, 0.5, 1)
    poses = [
        ("pose 0", "the canonical frame", seen(None, half)),
        ("pitch +25°", "near points go down", seen(turned(pitch=TURN_DEG), half)),
        ("yaw +25°", "near points go left", seen(turned(yaw=TURN_DEG), half)),
        ("roll +25°", "clockwise", seen(turned(roll=TURN_DEG), half)),
        ("x +0.02", "to the right", seen(turned(x=0.02), half)),
        ("y +0.02", "down", seen(turned(y=0.02), half)),
    ]
    lights = [
        ("light (0, 0, 1)", "from the camera", seen(None, light(0, 0, 1))),
        ("light (1, 0, 1)", "what faces left is lit", seen(None, light(1, 0, 1))),
        ("light (-1, 0, 1)", "what faces right is lit", seen(None, light(-1, 0, 1))),
        ("light (0, 1, 1)", "what faces up is lit", seen(None, light(0, 1, 1))),
        ("(1, 0, 1), yaw +25°", "it turns with the object", seen(turned(yaw=TURN_DEG), light(1, 0, 1))),
        ("normals, (n + 1) / 2", "x is red, y green, z blue", head.normals(camera)),
    ]
    row = CELL + 96
    paper = Paper(WIDTH, 350 + 2 * row)
    draw_picture_plane(paper, MARGIN, 16)
    draw_from_above(paper, 640, 16)
    draw_row(paper, 350, "Poses move the object about the pivot: R = Rz(roll) Ry(yaw) Rx(pitch), then the shift", poses)
    draw_row(paper, 350 + row, "A light's direction is the way it travels; light is attached to the object", lights)
    OUTPUT.parent.mkdir(exist_ok=True)
    paper.finished().save(OUTPUT, optimize=True)


if __name__ == "__main__":
    main()
