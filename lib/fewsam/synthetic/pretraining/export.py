"""From a run to a file of weights: whitened, in half precision, with where they come from in the metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from fewsam.encoders.build_compact import build_compact
from fewsam.encoders.compact import ARCHITECTURE, INPUT_SIZE, CompactEncoder
from fewsam.synthetic.pretraining.channels import whiten
from fewsam.synthetic.pretraining.episodes import DATA_VERSION, draw_episode
from fewsam.synthetic.pretraining.mixture import EPISODES, FLOOR, measure, principal, set_mixture
from fewsam.synthetic.pretraining.objective import RidgeProbe, probe_rows, splits
from fewsam.synthetic.pretraining.pool import POOL_VERSION
from fewsam.synthetic.pretraining.trainer import trained_network

LICENCE = "Apache-2.0"
_HELD_OUT = 7_777_777  # seed of the episodes that the metrics are of


def fit_linear(
    pool: tuple[Tensor, Tensor], seed: int, path: Path, episodes: int = EPISODES, checked: int = 24
) -> dict[str, Any]:
    """Fit the linear way in closed form and write the weights to ``path``; returns their metadata.

    Args:
        episodes: generated, for the fit.
        checked: generated, for the metrics.
    """
    network = build_compact(None)
    moments = measure(network, pool, seed, episodes)
    set_mixture(network, principal(moments), moments.mean)
    recipe = {"linear": "principal components", "episodes": episodes, "floor": FLOOR, "patients": len(pool[0])}
    facts = {**_facts(network, pool, checked), "recipe": recipe, "seed": seed, "steps": 0}
    save_weights(network, path, facts)
    return facts


def finish(folder: Path, pool: tuple[Tensor, Tensor], path: Path, episodes: int = 24) -> dict[str, Any]:
    """Whiten the averaged weights of the run in ``folder`` and write them to ``path``; returns their metadata.

    Args:
        episodes: generated, for the whitening and again for the metrics.

    Raises:
        CheckpointError: the folder holds no checkpoint.
    """
    network, state = trained_network(folder)
    recipe = state["recipe"]
    whiten(network, pool, recipe["seed"], episodes=episodes)
    facts = {**_facts(network, pool, episodes), "recipe": recipe, "seed": recipe["seed"], "steps": state["step"]}
    save_weights(network, path, facts)
    return facts


def _facts(network: CompactEncoder, pool: tuple[Tensor, Tensor], episodes: int) -> dict[str, Any]:
    return {
        "name": "fewsam-compact",
        "licence": LICENCE,
        "architecture": ARCHITECTURE,
        "data_version": f"{DATA_VERSION}.{POOL_VERSION}",
        "trained_on": "generated images only",
        "metrics": {
            "generated_accuracy": accuracy(network, pool, episodes),
            "generated_accuracy_untrained": accuracy(build_compact(None), pool, episodes),
        },
    }


@torch.no_grad()
def accuracy(network: CompactEncoder, pool: tuple[Tensor, Tensor], episodes: int) -> float:
    """Mean weighted accuracy of the ridge probe on episodes that no run trains on, at the default input size."""
    generator = torch.Generator().manual_seed(_HELD_OUT)
    probe = RidgeProbe()
    found = []
    for _ in range(episodes):
        episode = draw_episode(generator, 8, INPUT_SIZE, INPUT_SIZE // 4, pool)
        embeddings = torch.cat([network(one[:, None].expand(-1, 3, -1, -1)) for one in episode.images.split(2)])
        rows, masks = probe_rows(embeddings, episode.place), episode.masks.flatten(2)
        found += [probe(generator, rows, masks, *split)[1] for split in splits(generator, episode.patient)]
    return round(float(torch.stack(found).mean()), 4)


def save_weights(network: CompactEncoder, path: Path, facts: Mapping[str, Any]) -> None:
    """Write float16 weights with their metadata, by atomic replace; values that are no strings are stored as JSON."""
    metadata = {
        key: value if isinstance(value, str) else json.dumps(value, sort_keys=True) for key, value in facts.items()
    }
    tensors = {key: value.to(torch.float16).contiguous() for key, value in network.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    save_file(tensors, temporary, metadata)
    temporary.replace(path)
