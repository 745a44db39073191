"""The whitening of LiteMedSAM's features: from generated patients, into the package.

    python tools/whiten_medsam.py sample-data      # needs `make sample-data`

Some cells of every few slices of the generated CT and MR patients give mean and covariance of the 576 channels of the
last two stages, standardised; kept are the 256 strongest components, scaled to unit variance (weak ones to less). No
scan of anybody takes part. What other choices gave stands in docs/research/medsam.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from safetensors.torch import save_file

from fewsam.core.config import load_settings
from fewsam.encoders import sam, tinyvit
from fewsam.images.frame import make_frame
from fewsam.images.preprocess import choose_intensity, image_stats, to_uint8
from fewsam.images.volume import load_volume

PATIENTS = 3  # of each modality
SLICES = 8  # of each
CELLS = 1500  # of each slice
FLOOR = 0.1  # of the mean variance: weaker directions are not blown up to unit variance


@torch.no_grad()
def sample(network: tinyvit.TinyViTEncoder, data: Path) -> torch.Tensor:
    """Rows (N, 576) of the stages on generated slices."""
    generator, rows, settings = torch.Generator().manual_seed(0), [], load_settings()
    for path in [path for kind in ("ct", "mr") for path in sorted((data / kind).glob("*.nii.gz"))[:PATIENTS]]:
        volume = load_volume(path)
        geometry = volume.geometry
        frame = make_frame(geometry.slices_shape, geometry.spacing, sam.OFFICIAL["medsam_lite"].input_size)
        intensity = choose_intensity(image_stats(volume), settings)
        for z in range(2, volume.depth, max(1, volume.depth // SLICES)):
            square = to_uint8(volume.raw_slice(z)[None], intensity, frame, "grey")
            cells = network.stages(torch.from_numpy(square).float())[0].flatten(1).T
            rows.append(cells[torch.randperm(len(cells), generator=generator)[:CELLS]])
    if not rows:
        raise SystemExit(f"no generated patients in {data}: `make sample-data` writes them")
    return torch.cat(rows)


def whitening(rows: torch.Tensor) -> dict[str, torch.Tensor]:
    """``mean`` (576,) and ``matrix`` (256, 576), float32."""
    values = rows.double()
    mean, spread = values.mean(0), values.std(0)
    standard = (values - mean) / spread
    variances, axes = torch.linalg.eigh(standard.T @ standard / len(standard))
    variances, axes = variances.flip(0)[:256], axes.flip(1)[:, :256]
    axes = axes * axes.gather(0, axes.abs().argmax(0, keepdim=True)).sign()  # the sign of an axis is arbitrary
    matrix = (axes / (variances + FLOOR * variances.mean()).sqrt()).T / spread
    return {"mean": mean.float(), "matrix": matrix.float().contiguous()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--out", type=Path, default=tinyvit.WHITENING)
    given = parser.parse_args()
    checkpoint = sam.OFFICIAL["medsam_lite"].path()
    encoder = tinyvit.build_tinyvit(sam.read_sam_checkpoint(checkpoint), str(checkpoint), whiten=False)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    save_file(whitening(sample(encoder, given.data)), given.out, {"made by": "tools/whiten_medsam.py"})
    print(given.out)
