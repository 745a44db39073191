"""``fewsam benchmark``: seconds and memory of each stage on this machine, and of each request to a server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from fewsam.cli.common import err, out, say

if TYPE_CHECKING:
    import numpy as np

    from fewsam.core.config import Settings
    from fewsam.evaluation.responses import Response
    from fewsam.images.volume import Volume

PRODUCT = 2048  # rows and columns of two matrices


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: fewsam benchmark --samples sample-data")(benchmark)


def benchmark(
    samples: Annotated[Path, typer.Option("--samples", help="The folder that `fewsam phantom` made.")] = Path(
        "sample-data"
    ),
    sam: Annotated[
        bool,
        typer.Option("--sam/--no-sam", help="Time SAM ViT-B as well, which takes 7 s and more for a slice on a CPU."),
    ] = True,
    stages: Annotated[
        bool, typer.Option("--stages/--no-stages", help="Time the stages too, and not a server's answers alone.")
    ] = True,
) -> None:
    """Time encoding, decoding, retraining and a server's answers, beside this machine's matrix product."""
    import torch

    from fewsam.core.class_values import names_by_value
    from fewsam.core.config import load_settings
    from fewsam.evaluation.benchmark import matrix_rate, run_alone
    from fewsam.evaluation.responses import measure_responses
    from fewsam.images.labelfile import read_label
    from fewsam.images.volume import load_volume

    settings = load_settings("ct-abdomen", {"encoder": "compact"})
    volume = load_volume(samples / "ct" / "patient01.nii.gz")
    names = names_by_value(settings.labels)
    masks = read_label(samples / "truth" / "ct" / "patient01.nii.gz", volume.geometry, names=names)
    rate = run_alone(matrix_rate)
    say(f"{torch.get_num_threads()} threads, float32 matrix product {rate:.0f} GFLOP/s")
    if stages:
        out().print(_stages(settings, volume, masks, rate, sam))
    err().print("ask a server ...")
    out().print(_responses(measure_responses(samples / "ct" / "patient01.nii.gz", volume, masks), rate))


def _stages(settings: Settings, volume: Volume, masks: dict[str, np.ndarray], rate: float, sam: bool) -> Table:
    """Seconds of each stage, beside the least that this machine's matrix product allows."""
    from fewsam.evaluation import benchmark as stages

    measured = []
    for name in ("compact", "medsam_lite", "mobile_sam", *(["vit_b"] if sam else [])):
        err().print(f"encode {name} ...")
        for stage in (stages.encoder_stage, stages.openvino_stage):
            measured += stages.run_alone(stage, name)
    for classes in (1, 4, 16):
        err().print(f"decode {classes} classes ...")
        measured.append(stages.run_alone(stages.decode_stage, classes))
    err().print("retrain and segment ...")
    measured += stages.run_alone(stages.loop_stage, settings, volume, masks)
    table = Table()
    for column in ("stage", "seconds", "GFLOP", "floor, s", "times the floor", "peak memory, GB"):
        table.add_column(column, justify="left" if column == "stage" else "right")
    for one in measured:
        floor = one.floor(rate)
        table.add_row(
            one.stage,
            f"{one.seconds:.3f}",
            "" if one.gflop is None else f"{one.gflop:.1f}",
            "" if floor is None else f"{floor:.3f}",
            "" if floor is None else f"{one.seconds / floor:.1f}",
            "" if one.peak_gb is None else f"{one.peak_gb:.1f}",
        )
    return table


def _responses(measured: list[Response], rate: float) -> Table:
    """Seconds of requests, also in units of a matrix product, which compares machines."""
    product = 2 * PRODUCT**3 / rate / 1e9
    table = Table()
    for column in ("request over HTTP", "median, s", "slowest, s", f"median in matrix products of {PRODUCT}"):
        table.add_column(column, justify="left" if column.startswith("request") else "right")
    for one in measured:
        table.add_row(one.request, f"{one.median:.2f}", f"{one.slowest:.2f}", f"{one.median / product:.1f}")
    return table
