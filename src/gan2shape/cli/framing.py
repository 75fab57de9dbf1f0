"""Flags that say which square of a photograph is used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import arg

from gan2shape.errors import UserError

if TYPE_CHECKING:
    from gan2shape.io.framing import Frame


@dataclass(frozen=True)
class FramingFlags:
    """Which square of a photograph is used; its centre square if nothing is said."""

    align: Literal["none", "face"] = "none"
    """"face" finds the face and cuts it out, level and as large as in FFHQ (extra "align")."""
    landmarks: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="(optional)")] = None
    """File of 5 or 68 landmarks (x y in every line, JSON, .pts) to cut the face out by, instead of finding them."""
    align_scale: Annotated[float, arg(metavar="FACTOR")] = 1.0
    """Side of the face's square, in those of FFHQ: larger ones show more of the head."""
    crop: Annotated[str | None, arg(metavar="X,Y,W,H", help_behavior_hint="(optional)")] = None
    """The part to use, in pixels from the top left of the upright picture; its centre square if it is not square."""

    def check(self, pictures: Sequence[Path]) -> None:
        """Refuse flags that do not go together.

        Raises:
            UserError: naming them.
        """
        by_face = self.align == "face" or self.landmarks is not None
        if self.crop is not None and by_face:
            raise UserError("--crop and --align or --landmarks say both where to cut; leave one out")
        if not by_face and self.align_scale != 1.0:
            raise UserError("--align-scale goes with --align face or --landmarks")
        if not 0.25 <= self.align_scale <= 4:
            raise UserError(f"--align-scale must be from 0.25 to 4; got {self.align_scale}")
        for flag, given in (("--crop", self.crop), ("--landmarks", self.landmarks)):
            if given is not None and len(pictures) != 1:
                raise UserError(f"{flag} goes with exactly one picture; got {len(pictures)}")

    def frame_of(self, picture: Path) -> Frame | None:
        """The square of a photograph; None means the centre one.

        Raises:
            UserError: no such square, no face, or a package that is missing.
        """
        from gan2shape.io.framing import crop_frame, face_frame, read_landmarks
        from gan2shape.io.images import upright_size

        if self.crop is not None:
            return crop_frame(_box(self.crop), upright_size(picture))
        if self.landmarks is not None:
            return face_frame(read_landmarks(self.landmarks), upright_size(picture)).scaled(self.align_scale)
        if self.align == "face":
            from gan2shape.priors.faces import find_face_frame

            return find_face_frame(picture).scaled(self.align_scale)
        return None


def _box(text: str) -> tuple[float, float, float, float]:
    try:
        x, y, width, height = (float(number) for number in text.split(","))
    except ValueError:
        raise UserError(f"--crop must be x,y,width,height, as in 120,40,300,300; got {text!r}") from None
    return x, y, width, height
