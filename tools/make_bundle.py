"""Make the bundled generator from the weights of a training (``g_ema``, ``d``): a snapshot, or the common layout.

python tools/make_bundle.py SNAPSHOT.safetensors src/gan2shape/assets/stylegan2_synface64.safetensors
"""

from __future__ import annotations

import sys
from datetime import date
from pathlib import Path

from gan2shape.generators.load import latent_mean, save_generator
from gan2shape.generators.rosinality import read_discriminator, read_generator
from gan2shape.io.checkpoints import read_metadata, read_tensors, sha256

LICENCE = "MIT"
CREDIT = (
    "Trained only on renders of a head model derived from ICT FaceKit, "
    "Copyright (c) 2020 USC Institute for Creative Technologies, MIT License"
)


def main(source: str, target: str) -> None:
    """Read `source`, write `target` in half precision with a header that says where it comes from."""
    tensors = read_tensors(source)
    networks = {
        prefix: {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
        for prefix in ("g_ema/", "d/")
    }
    generator = read_generator(networks["g_ema/"])
    discriminator = read_discriminator(networks["d/"])
    metadata = {
        "kind": "StyleGAN2",
        "resolution": generator.resolution,
        "channels": dict(generator.config.channels),
        "licence": LICENCE,
        "credit": CREDIT,
        "source": Path(source).name,
        "source_sha256": sha256(source),
        **{key: value for key, value in read_metadata(source).items() if key in ("training", "iterations", "pictures")},
        "made": f"rounded to float16 by tools/make_bundle.py on {date.today().isoformat()}; w_mean of 4096 samples",
    }
    save_generator(target, generator, discriminator, w_mean=latent_mean(generator), metadata=metadata)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
