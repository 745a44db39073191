"""``fewsam pretrain``: weights of the compact encoder, from generated images alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fewsam.cli.common import bars, counter, say


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: fewsam pretrain runs/compact --seed 0")(pretrain)


def pretrain(
    folder: Annotated[Path, typer.Argument(help="The folder of the run, for phantoms, checkpoint, log and weights.")],
    steps: Annotated[int, typer.Option(min=0, help="Optimiser steps; 0 fits the linear part in closed form.")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="The seed of every random choice.")] = 0,
    episodes: Annotated[
        int, typer.Option(min=1, help="How many episodes a step has; give more with an accelerator.")
    ] = 1,
    slices: Annotated[int, typer.Option(min=6, help="How many slices an episode has, an even number.")] = 12,
    sizes: Annotated[str, typer.Option(help="The sides of the slices in pixels; each step draws one.")] = "192,192,256",
    patients: Annotated[int, typer.Option(min=1, help="How many phantom patients are generated.")] = 72,
    learning_rate: Annotated[float, typer.Option(help="The highest learning rate.")] = 1e-3,
    device: Annotated[str, typer.Option(help="The device: auto, cpu, cuda, cuda:1, ...")] = "auto",
    workers: Annotated[int, typer.Option(min=1, help="How many processes generate phantoms.")] = 2,
    sheet: Annotated[
        Path | None, typer.Option(help="Write an image of generated slices to this file, and stop.")
    ] = None,
    until: Annotated[int | None, typer.Option(min=1, help="Stop at this step; the same command goes on later.")] = None,
) -> None:
    """Pretrain the compact encoder on generated images. Run it again with the same options to go on where it stopped.

    Use the result with --conf checkpoint=FOLDER/compact.safetensors.
    """
    from fewsam.core.device import resolve_device
    from fewsam.core.errors import ConfigError
    from fewsam.synthetic.pretraining import Recipe, Trainer, fill_pool, finish, fit_linear, read_pool
    from fewsam.synthetic.pretraining.picture import save_sheet

    try:
        sides = tuple(int(part) for part in sizes.split(","))
    except ValueError:
        raise ConfigError(f"sizes {sizes!r}: give sides in pixels, such as 192,256") from None
    recipe = Recipe(
        steps=steps,
        episodes=episodes,
        slices=slices,
        sizes=sides,
        patients=patients,
        learning_rate=learning_rate,
        seed=seed,
    )
    with bars() as progress:
        fill_pool(folder / "pool", patients, workers, counter(progress, "phantoms", patients))
        pool = read_pool(folder / "pool", patients)
        if sheet is not None:
            save_sheet(sheet, pool, seed)
            return
        if steps:
            trainer = Trainer(recipe, folder, pool, resolve_device(device))
            trainer.run(until, report=counter(progress, "steps", steps))
            if trainer.step < steps:
                say(f"stopped at step {trainer.step} of {steps}; the same command without --until goes on")
                return
    weights = folder / "compact.safetensors"
    facts = finish(folder, pool, weights) if steps else fit_linear(pool, seed, weights)
    found = facts["metrics"]
    say(
        f"{weights}: {steps} steps; accuracy on generated slices {found['generated_accuracy']} "
        f"(untrained {found['generated_accuracy_untrained']})"
    )
