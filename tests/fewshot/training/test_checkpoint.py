"""Runs that were killed or told to stop: what they go on from, and that it makes no difference."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import chain, repeat
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import fewsam
from fewsam.collection import Collection
from fewsam.fewshot.model.store import ModelStore, checksum
from fewsam.fewshot.training.constants import TRAINING, VALIDATION
from fewsam.fewshot.training.train import TrainStatus, train
from fewsam.fewshot.training.validation import measure
from helpers import tiny_volume as tiny


def run(folder, collection, given, **options):
    embedder = tiny.embedder(folder, given)
    return train(given, collection, embedder, ModelStore(folder), folder=folder / "run", **options)


def one_image(folder) -> Collection:
    """Four slices, one of which is held out and learnt from in the end."""
    return tiny.labelled(folder, [4, 5, 6, 7])[0]


def val_images(folder) -> Collection:
    """Four images, one of which is a validation image."""
    collection = Collection(folder, tiny.CLASSES)
    for number in range(4):
        volume, masks = tiny.scan(folder, f"p{number}", seed=number)
        collection.submit(
            volume, f"p{number}", tiny.on_slices(masks, [5]), absent_classes="complete", complete_slices={5}
        )
    return collection


def published(folder):
    """Weights and card of the served decoder, without what is of the time."""
    model = ModelStore(folder).load()
    assert model is not None and not model.notes
    return model.decoder.state_dict(), replace(model.card, seconds=0.0, trained_at="")


def same(one, other) -> bool:
    weights, others = one[0], other[0]
    return one[1] == other[1] and all(torch.equal(value, others[name]) for name, value in weights.items())


def stopping(after: int):
    """``should_stop`` that is true before step ``after`` + 1, and ``progress`` that tells it the step."""
    seen = [0]
    return {"should_stop": lambda: seen[-1] >= after, "progress": lambda now: seen.append(now.step)}


@pytest.mark.slow
@pytest.mark.parametrize("labelled", [one_image, val_images])
def test_a_run_told_to_stop_publishes_in_the_end_what_the_uninterrupted_one_does(tmp_path, monkeypatch, labelled):
    few = replace(VALIDATION, min_val_images=1)  # so that of `val_images` the best weights are chosen
    monkeypatch.setattr("fewsam.fewshot.training.split.VALIDATION", few)
    # The decoder reads the embedding, whose channels are dropped out by torch's generator: it must go on too.
    given = tiny.settings(steps=12, keep_better=False, decoder_reads="embedding")
    assert run(tmp_path / "whole", labelled(tmp_path / "whole"), given).published
    collection, steps = labelled(tmp_path / "parts"), []
    for after in (3, 7, 10):
        stopped = run(tmp_path / "parts", collection, given, **stopping(after))
        assert stopped.status is TrainStatus.STOPPED and not stopped.published
        steps.append(stopped.steps)
    assert steps == [3, 7, 10] and ModelStore(tmp_path / "parts").version() == 0
    result = run(tmp_path / "parts", collection, given)
    assert result.published and result.steps == 12
    assert same(published(tmp_path / "whole"), published(tmp_path / "parts"))
    assert not (tmp_path / "parts" / "run" / "run.safetensors").exists()


@pytest.mark.slow
def test_weights_chosen_before_a_stop_are_published_after_it(tmp_path, monkeypatch):
    few = replace(VALIDATION, min_val_images=1)
    monkeypatch.setattr("fewsam.fewshot.training.split.VALIDATION", few)
    monkeypatch.setattr("fewsam.fewshot.training.selection.measure_undertrained", lambda *_: 0.0)
    scores = chain([0.1, 0.3, 0.9], repeat(0.4))  # the prior's, then at steps 2, 4, 6, ...
    monkeypatch.setattr(
        "fewsam.fewshot.training.selection.measure", lambda *of: replace(measure(*of), metric=next(scores))
    )
    collection = val_images(tmp_path)
    for after in (5, 7):  # after the best weights, and once more from a run that was resumed
        assert run(tmp_path, collection, tiny.settings(steps=12), **stopping(after)).steps == after
    assert run(tmp_path, collection, tiny.settings(steps=12)).steps == 12
    card = published(tmp_path)[1]
    assert card.steps == 4 and card.metric == 0.9


@pytest.mark.slow
def test_a_better_served_decoder_stays_though_the_run_was_stopped_and_resumed(tmp_path, monkeypatch):
    collection, volume, masks = tiny.labelled(tmp_path, [4, 5, 7])  # too few to hold one out: published in any case
    run(tmp_path, collection, tiny.settings())
    collection.submit(
        volume, "scan", tiny.on_slices(masks, [4, 5, 6, 7]), absent_classes="complete", complete_slices={6}
    )
    scores = chain([0.9], repeat(0.4))  # the served decoder at the start, then the new one's evaluations
    monkeypatch.setattr(
        "fewsam.fewshot.training.selection.measure", lambda *of: replace(measure(*of), metric=next(scores))
    )
    assert run(tmp_path, collection, tiny.settings(), **stopping(4)).status is TrainStatus.STOPPED
    result = run(tmp_path, collection, tiny.settings())
    assert result.status is TrainStatus.SERVED_KEPT
    assert result.previous_metric == 0.9 and ModelStore(tmp_path).version() == 1


@pytest.mark.slow
def test_the_steps_of_a_resumed_run_count_on_and_so_do_those_of_the_next(tmp_path):
    collection, given = one_image(tmp_path), tiny.settings(steps=8)
    run(tmp_path, collection, given, **stopping(3))
    steps: list[int] = []
    result = run(tmp_path, collection, given, progress=lambda now: steps.append(now.step))
    assert steps[0] == 3 and result.published and result.steps == 8
    for behind in (8, 16):
        card = published(tmp_path)[1]
        assert card.steps == behind and card.undertrained == 1
        run(tmp_path, collection, given)


@pytest.mark.slow
def test_an_unfinished_run_goes_on_from_the_decoder_it_began_with_alone(tmp_path):
    """Where another decoder is served meanwhile, such as an imported one, it starts anew from that."""
    collection, given = one_image(tmp_path), tiny.settings(steps=8, keep_better=False)
    run(tmp_path, collection, given)
    run(tmp_path, collection, given, **stopping(3))
    weights, card = published(tmp_path)
    ModelStore(tmp_path).publish(weights, card)
    steps: list[int] = []
    run(tmp_path, collection, given, progress=lambda now: steps.append(now.step))
    assert steps[0] == 0


@pytest.mark.parametrize(
    ("changed", "first_step"),
    [({"steps": 9}, 3), ({"learning_rate": 1e-4}, 0), ({"seed": 1}, 0), ({"intensity": "full"}, 0)],
)
def test_an_unfinished_run_goes_on_with_the_settings_it_began_with_alone(tmp_path, changed, first_step):
    """Its length is another matter: a person may give it more time."""
    collection = one_image(tmp_path)
    run(tmp_path, collection, tiny.settings(steps=8), **stopping(3))
    steps: list[int] = []
    run(tmp_path, collection, tiny.settings(**{"steps": 8, **changed}), progress=lambda now: steps.append(now.step))
    assert steps[0] == first_step


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def bit_turned(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1000] ^= 64
    path.write_bytes(content)


def junk(path: Path) -> None:
    path.write_bytes(b"junk")


def of_before(path: Path) -> None:
    """As versions wrote it that kept weights and step alone."""
    with safe_open(path, framework="pt") as file:
        values = json.loads(file.metadata()["run"])
    tensors = load_file(path)
    weights = {name[8:]: value for name, value in tensors.items() if name.startswith("decoder.")}
    kept = {name: values[name] for name in ("signature", "step", "elapsed", "prepared")}
    save_file(weights, path, {"run": json.dumps(kept), "checksum": checksum(weights)})


def without_optimiser(path: Path) -> None:
    """Whole, and yet of another decoder."""
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    tensors = {name: value for name, value in load_file(path).items() if name != "decoder.token_proj.bias"}
    save_file(tensors, path, {**metadata, "checksum": checksum(tensors)})


@pytest.mark.slow
@pytest.mark.parametrize("damage", [cut, bit_turned, junk, of_before, without_optimiser])
def test_an_unfinished_run_that_is_damaged_or_of_before_is_started_afresh(tmp_path, damage, caplog):
    caplog.set_level("INFO", logger="fewsam")  # whatever a command of another test left it at
    given = tiny.settings(steps=6, keep_better=False)
    run(tmp_path / "whole", one_image(tmp_path / "whole"), given)
    collection = one_image(tmp_path / "damaged")
    run(tmp_path / "damaged", collection, given, **stopping(4))
    damage(tmp_path / "damaged" / "run" / "run.safetensors")
    steps: list[int] = []
    assert run(tmp_path / "damaged", collection, given, progress=lambda now: steps.append(now.step)).published
    assert steps[0] == 0 and "starting afresh" in caplog.text
    assert same(published(tmp_path / "whole"), published(tmp_path / "damaged"))


TRAINER = """
import sys
sys.path[:0] = [{lib!r}, {tests!r}]
from dataclasses import replace
from pathlib import Path
from fewsam.fewshot.model.store import ModelStore
from fewsam.fewshot.training import run
from fewsam.fewshot.training.train import train
from helpers import tiny_volume as tiny
run.TRAINING = replace(run.TRAINING, checkpoint_seconds={every})
folder = Path({folder!r})
collection, _, _ = tiny.labelled(folder, [4, 5, 6, 7])
given = tiny.settings(steps={steps}, detail_size=64, keep_better=False)
train(given, collection, tiny.embedder(folder, given), ModelStore(folder), folder=folder / "run",
      progress=lambda now: print(now.step, flush=True))
"""


def killed_while_training(folder: Path, *, after: int, steps: int, every: float) -> None:
    """A training in a process of its own, killed when it has made ``after`` steps."""
    lib, tests = os.path.dirname(os.path.dirname(fewsam.__file__)), str(Path(__file__).parents[2])
    code = TRAINER.format(lib=lib, tests=tests, folder=str(folder), steps=steps, every=every)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while int(process.stdout.readline()) < after:
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)


@pytest.mark.slow
def test_a_run_that_was_killed_publishes_in_the_end_what_the_uninterrupted_one_does(tmp_path):
    given = tiny.settings(steps=12, detail_size=64, keep_better=False)
    run(tmp_path / "whole", one_image(tmp_path / "whole"), given)
    killed_while_training(tmp_path / "killed", after=6, steps=12, every=0.0)  # a checkpoint before each step
    steps: list[int] = []
    collection = Collection(tmp_path / "killed", tiny.CLASSES)
    result = run(tmp_path / "killed", collection, given, progress=lambda now: steps.append(now.step))
    assert result.published and steps[0] > 0 and steps[-1] == 12
    assert same(published(tmp_path / "whole"), published(tmp_path / "killed"))


@pytest.mark.slow
def test_killed_while_training_the_served_decoder_is_whole(tmp_path):
    collection, _, _ = tiny.labelled(tmp_path, [4, 6])
    run(tmp_path, collection, tiny.settings(steps=3, detail_size=64))
    before = ModelStore(tmp_path).load()
    killed_while_training(tmp_path, after=2, steps=100_000, every=TRAINING.checkpoint_seconds)
    after = ModelStore(tmp_path).load()
    assert before is not None and after is not None and after.version == 1
    assert all(torch.equal(a, b) for a, b in zip(before.decoder.parameters(), after.decoder.parameters(), strict=True))
    assert len(Collection(tmp_path, tiny.CLASSES).shots()) == 4
    result = run(tmp_path, collection, tiny.settings(steps=3, detail_size=64))
    assert result.version >= 1 and result.metric is not None and np.isfinite(result.metric)
