"""Files in the layout of the original program's releases, with random weights, and its networks worked out by hand.

Layouts: entries of one ``network`` list per network, as its releases have them. `maps` and `numbers` compute a network
from the raw tensors of such a file in float64, entry by entry, without any module of this package.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

State = dict[str, Tensor]


def _weight(*shape: int, rng: torch.Generator) -> Tensor:
    fan = max(1, shape[1] * shape[2] * shape[3])
    return torch.randn(*shape, generator=rng) / fan**0.5


def _norm(state: State, index: int, width: int, rng: torch.Generator) -> None:
    state[f"network.{index}.weight"] = 1 + 0.2 * torch.randn(width, generator=rng)
    state[f"network.{index}.bias"] = 0.2 * torch.randn(width, generator=rng)


def map_network(size: int, width: int, channels: int, code: int, rng: torch.Generator) -> State:
    """State of a depth or albedo network: the indices are those of its list of layers, activations counted."""
    levels = size.bit_length() - 3
    widths = [width << level for level in range(levels)]
    state: State = {}
    index = 0
    for level, (before, after) in enumerate(zip([3, *widths], widths, strict=False)):
        state[f"network.{index}.weight"] = _weight(after, before, 4, 4, rng=rng)
        index += 1
        if level < levels - 1:
            _norm(state, index, after, rng)
            index += 1
        index += 1  # leaky rectifier
    state[f"network.{index}.weight"] = _weight(code, widths[-1], 4, 4, rng=rng)
    index += 2
    state[f"network.{index}.weight"] = _weight(code, widths[-1], 4, 4, rng=rng)
    index += 2
    state[f"network.{index}.weight"] = _weight(widths[-1], widths[-1], 3, 3, rng=rng)
    index += 2
    for before, after in zip(widths[:0:-1], widths[-2::-1], strict=True):
        state[f"network.{index}.weight"] = _weight(before, after, 4, 4, rng=rng)
        _norm(state, index + 1, after, rng)
        state[f"network.{index + 3}.weight"] = _weight(after, after, 3, 3, rng=rng)
        _norm(state, index + 4, after, rng)
        index += 6
    index += 1  # growing by nearest neighbours
    for kernel in (3, 5):
        state[f"network.{index}.weight"] = _weight(width, width, kernel, kernel, rng=rng)
        _norm(state, index + 1, width, rng)
        index += 3
    state[f"network.{index}.weight"] = _weight(channels, width, 5, 5, rng=rng)
    return state


def vector_network(size: int, width: int, numbers: int, rng: torch.Generator) -> State:
    """State of a view or light network."""
    levels = size.bit_length() - 3
    widths = [width << level for level in range(levels)]
    state = {
        f"network.{2 * level}.weight": _weight(after, before, 4, 4, rng=rng)
        for level, (before, after) in enumerate(zip([3, *widths], widths, strict=False))
    }
    state[f"network.{2 * levels}.weight"] = _weight(widths[-1], widths[-1], 4, 4, rng=rng)
    state[f"network.{2 * levels + 2}.weight"] = _weight(numbers, widths[-1], 1, 1, rng=rng)
    return state


def offset_network(size: int, width: int, numbers: int, rng: torch.Generator) -> State:
    """State of the latent encoder."""
    levels = size.bit_length() - 3
    widths = [width << level for level in range(levels)]
    state = {"network.0.weight": _weight(width, 3, 4, 4, rng=rng)}
    for block, (before, after) in enumerate(pairwise(widths), start=1):
        state[f"network.{block}.conv1.weight"] = _weight(after, before, 3, 3, rng=rng)
        state[f"network.{block}.conv2.weight"] = _weight(after, after, 3, 3, rng=rng)
        state[f"network.{block}.conv_sc.weight"] = _weight(after, before, 1, 1, rng=rng)
        state[f"network.{block}.conv_sc.bias"] = 0.2 * torch.randn(after, generator=rng)
    state[f"network.{levels + 1}.weight"] = _weight(2 * widths[-1], widths[-1], 4, 4, rng=rng)
    state[f"network.{levels + 3}.weight"] = _weight(numbers, 2 * widths[-1], 1, 1, rng=rng)
    return state


def networks(
    size: int = 64, width: int = 64, *, code: int = 256, offset: int = 32, latent: int = 512, seed: int = 0
) -> dict[str, State]:
    """All five networks of a release, random."""
    rng = torch.Generator().manual_seed(seed)
    return {
        "netD": map_network(size, width, 1, code, rng),
        "netA": map_network(size, width, 3, code, rng),
        "netV": vector_network(size, width, 6, rng),
        "netL": vector_network(size, width, 4, rng),
        "netEnc": offset_network(size, offset, latent, rng),
    }


def _groups(features: Tensor, state: Mapping[str, Tensor], index: int, groups: int) -> Tensor:
    """Group normalisation, worked out group by group."""
    batch, channels, height, width = features.shape
    split = features.reshape(batch, groups, -1)
    centred = split - split.mean(2, keepdim=True)
    normed = centred / (centred.square().mean(2, keepdim=True) + 1e-5).sqrt()
    scale, shift = (state[f"network.{index}.{part}"].double() for part in ("weight", "bias"))
    return normed.reshape(batch, channels, height, width) * scale[:, None, None] + shift[:, None, None]


def maps(state: Mapping[str, Tensor], image: Tensor, *, bounded: bool) -> Tensor:
    """The output of a depth or albedo network (B, C, S, S) for pictures (B, 3, S, S), from a file's raw tensors."""
    size = image.shape[-1]
    levels, base = size.bit_length() - 3, 8 if size >= 128 else 16

    def weight(index: int) -> Tensor:
        return state[f"network.{index}.weight"].double()

    x, index = image.double(), 0
    for level in range(levels):
        x = F.conv2d(x, weight(index), stride=2, padding=1)
        if level < levels - 1:
            x = _groups(x, state, index + 1, base << level)
            index += 1
        x = torch.where(x > 0, x, 0.2 * x)
        index += 2
    x = F.conv2d(x, weight(index)).clamp(min=0)
    x = F.conv_transpose2d(x, weight(index + 2)).clamp(min=0)
    x = F.conv2d(x, weight(index + 4), padding=1).clamp(min=0)
    index += 6
    for level in reversed(range(levels - 1)):
        x = F.conv_transpose2d(x, weight(index), stride=2, padding=1)
        x = _groups(x, state, index + 1, base << level).clamp(min=0)
        x = _groups(F.conv2d(x, weight(index + 3), padding=1), state, index + 4, base << level).clamp(min=0)
        index += 6
    x = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
    x = _groups(F.conv2d(x, weight(index + 1), padding=1), state, index + 2, base).clamp(min=0)
    x = _groups(F.conv2d(x, weight(index + 4), padding=2), state, index + 5, base).clamp(min=0)
    x = F.conv2d(x, weight(index + 7), padding=2)
    return x.tanh() if bounded else x


def vectors(state: Mapping[str, Tensor], image: Tensor) -> Tensor:
    """The output of a view or light network (B, N) for pictures (B, 3, S, S), from a file's raw tensors."""
    levels = image.shape[-1].bit_length() - 3
    x = image.double()
    for level in range(levels):
        x = F.conv2d(x, state[f"network.{2 * level}.weight"].double(), stride=2, padding=1).clamp(min=0)
    x = F.conv2d(x, state[f"network.{2 * levels}.weight"].double()).clamp(min=0)
    return F.conv2d(x, state[f"network.{2 * levels + 2}.weight"].double()).flatten(1).tanh()


def offsets(state: Mapping[str, Tensor], image: Tensor) -> Tensor:
    """The output of the latent encoder (B, N) for pictures (B, 3, S, S), from a file's raw tensors."""
    levels = image.shape[-1].bit_length() - 3
    full = {name: tensor.double() for name, tensor in state.items()}
    x = F.conv2d(image.double(), full["network.0.weight"], stride=2, padding=1)
    for block in range(1, levels):
        name = f"network.{block}."
        x = x.clamp(min=0)  # The original rectifies in place, so that the short cut sees it too.
        y = F.conv2d(x, full[f"{name}conv1.weight"], stride=2, padding=1).clamp(min=0)
        y = F.conv2d(y, full[f"{name}conv2.weight"], padding=1)
        quarters = x[:, :, ::2, ::2] + x[:, :, 1::2, ::2] + x[:, :, ::2, 1::2] + x[:, :, 1::2, 1::2]
        x = y + F.conv2d(quarters / 4, full[f"{name}conv_sc.weight"], full[f"{name}conv_sc.bias"])
    x = F.conv2d(x.clamp(min=0), full[f"network.{levels + 1}.weight"]).clamp(min=0)
    return F.conv2d(x, full[f"network.{levels + 3}.weight"]).flatten(1)


_TABLE = {
    # category, size, gan, crop, multiplier, stages, first, later, flip3, mask, relative, F1, batch, view_scale
    "celeba": ("face", 128, 128, None, 1, 4, (600, 600, 400), (200, 500, 300), True, False, True, 2, 16, 1.2),
    "cat": ("cat", 128, 256, 170, 1, 4, (600, 600, 400), (200, 500, 300), True, False, True, 2, 16, 1.2),
    "car": ("car", 128, 512, None, 2, 4, (700, 700, 600), (200, 500, 400), False, True, False, 2, 8, None),
    "church": ("church", 128, 256, None, 2, 4, (700, 700, 600), (200, 500, 400), False, True, False, 2, 8, None),
    "synface": ("synface", 64, 128, 170, 1, 1, (500, 500, 200), None, True, False, True, 8, 16, 1.2),
}


def yaml_text(name: str, *, joint: bool = False) -> str:
    """A configuration as the releases have it, from the table of the published schedules."""
    category, size, gan, crop, multiplier, stages, first, later, flip3, mask, relative, f1, batch, view = _TABLE[name]
    flip1_list, flip3_list = [False] * stages, [flip3, *[False] * (stages - 1)]
    collect = 100
    if joint:
        stages = 8 if name == "synface" else 4
        first, later = (1500, 1500, 1500), (700, 1000, 1000)
        flip1_list, flip3_list = [False, *[True] * (stages - 1)], [True] * stages
        batch, collect = (12, 1000) if name == "synface" else (8, 800)
    light = [-0.9, 0.9, -0.3, 0.8, -0.1, 0.7, -0.4] if name == "synface" else [-1, 1, -0.2, 0.8, -0.1, 0.6, -0.6]
    which = f"{name}_" if view else ""
    lines = [
        f"## train {name}", "## trainer", f"checkpoint_dir: results/{name}", "save_checkpoint_freq: 500",
        "keep_num_checkpoint: 2", "use_logger: true", "log_freq: 100",
        f"joint_train: {str(joint).lower()}  # several images", "independent: true", "reset_weight: true",
        "save_results: true", f"num_stage: {stages}",
        f"flip1_cfg: {str(flip1_list).lower()}", f"flip3_cfg: {str(flip3_list).lower()}", "stage_len_dict:",
        *(f"    step{index}: {count}  # iterations" for index, count in enumerate(first, start=1)),
        *(["stage_len_dict2:"] if later else []),
        *(f"    step{index}: {count}" for index, count in enumerate(later or (), start=1)),
        "", "## data", f"image_size: {size}", *([f"crop: {crop}"] if crop else []), "load_gt_depth: false",
        f"img_list_path: data/{name}/list.txt", f"img_root: data/{name}", f"latent_root: data/{name}/latents",
        "", "## model", f"model_name: gan2shape_{category}", f"category: {category}", "share_weight: true",
        f"relative_enc: {str(relative).lower()}", f"use_mask: {str(mask).lower()}", "add_mean_L: true",
        "add_mean_V: true", *(["num_scale: 1"] if name == "synface" and not joint else []),
        "min_depth: 0.9", "max_depth: 1.1",
        *(["prior_near: 0.91", "prior_far: 1.0"] if name == "church" else []),
        "xyz_rotation_range: 60  # (-r,r) in degrees", "xy_translation_range: 0.1", "z_translation_range: 0",
        *([f"view_scale: {view}"] if view else []), f"collect_iters: {collect}", f"batchsize: {batch}", "lr: 0.0001",
        "lam_perc: 0.5", "lam_smooth: 0.01", "lam_regular: 0.01",
        *([f"pretrain: checkpoints/gan2shape/{name}_pretrain.pth"] if view and not joint else []),
        f"view_mvn_path: checkpoints/view_light/{which}view_mvn.pth",
        f"light_mvn_path: checkpoints/view_light/{which}light_mvn.pth", f"rand_light: {str(light).replace(' ', '')}",
        "", "## GAN", f"channel_multiplier: {multiplier}", f"gan_size: {gan}",
        f"gan_ckpt: checkpoints/stylegan2/stylegan2-{name}.pt", f"F1_d: {f1}", "", "## renderer",
        "rot_center_depth: 1.0", "fov: 10  # in degrees", "tex_cube_size: 2", "",
    ]  # fmt: skip
    return "\n".join(lines)


def gaussians(seed: int = 0) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Distributions of pose and of light, as the releases store them."""
    rng = torch.Generator().manual_seed(seed)
    made = []
    for count in (6, 4):
        root = 0.1 * torch.randn(count, count, generator=rng)
        made.append({"mean": 0.2 * torch.randn(count, generator=rng), "cov": root @ root.T})
    return made[0], made[1]


def unpack(root: Path, name: str, *, states: Mapping[str, State], pictures: Mapping[str, tuple[bytes, Tensor]]) -> None:
    """Write what the download script leaves in `root` for one category: pictures, latents, networks, Gaussians, YAML.

    Files are written as torch wrote them at the time, before its zip format.
    """
    folder = root / "data" / name
    (folder / "latents").mkdir(parents=True)
    for kind in ("gan2shape", "view_light", "stylegan2"):
        (root / "checkpoints" / kind).mkdir(parents=True, exist_ok=True)
    (root / "configs").mkdir(exist_ok=True)

    def save(content: object, *parts: str) -> None:
        torch.save(content, root.joinpath(*parts), _use_new_zipfile_serialization=False)

    for index, (title, (png, latent)) in enumerate(pictures.items()):
        (folder / f"{title}.png").write_bytes(png)
        content = latent if index % 2 else {"latent": latent}
        save(content, "data", name, "latents", f"{title}.pt")
    (folder / "list.txt").write_text("".join(f"{title}.png\n" for title in pictures))
    view, light = gaussians()
    save({**states, "iteration": 7}, "checkpoints", "gan2shape", f"{name}_pretrain.pth")
    save(view, "checkpoints", "view_light", f"{name}_view_mvn.pth")
    save(light, "checkpoints", "view_light", f"{name}_light_mvn.pth")
    (root / "configs" / f"{name}.yml").write_text(yaml_text(name))
