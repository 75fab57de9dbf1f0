"""Make the bundled networks of one pass: those of a training, with depth and view network in common with the bundled
networks of ``gan2shape pretrain``, and the reading of shapes in its parts. One pass reads depths and poses itself; its
depth network serves refinements alone, as what moves.

python tools/share_networks.py TURNED src/gan2shape/assets/pretrained_synface64.safetensors TARGET
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from gan2shape.io.checkpoints import read_metadata, read_tensors, sha256, write_tensors
from gan2shape.networks.readings import factored
from gan2shape.networks.turned import load_turned
from gan2shape.reconstruct.pretrain import load_pretrained

SHARED = ("depth_net.", "view_net.")
SHAPE = "turning.shape"


def main(turned: Path, pretrained: Path, target: Path) -> None:
    """Write ``target``, which belongs beside ``pretrained``."""
    tensors = {name: t for name, t in read_tensors(turned).items() if not name.startswith(SHARED)}
    if SHAPE in tensors:
        parts = factored(tensors.pop(SHAPE))
        tensors |= {f"{SHAPE}.{name}": part if name == "mean" else part.half() for name, part in parts.items()}
    header = json.loads(read_metadata(turned)["gan2shape"])
    networks, size = load_pretrained(pretrained).config.networks, header["sizes"]["image_size"]
    header["sizes"] |= {"map_width": networks.map_width(size), "code_size": networks.code_size}
    header["shared"] = {prefix: [pretrained.name, f"factors.{prefix}", sha256(pretrained)] for prefix in SHARED}
    write_tensors(target, tensors, {"gan2shape": json.dumps(header, sort_keys=True)})
    load_turned(target)  # Fails where the parts do not fit.


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*map(Path, sys.argv[1:]))
