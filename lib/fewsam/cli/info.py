"""``fewsam info``: what a task folder holds."""

from __future__ import annotations

from typing import Any

import typer
from rich.table import Table
from rich.text import Text

from fewsam.cli.common import DEFAULT_TASK, NUMBERING, Conf, Task, out, parse_conf, say


def register(app: typer.Typer) -> None:
    app.command(epilog=f"{NUMBERING}\n\nExample: fewsam info --task my-task")(info)


def info(task: Task = DEFAULT_TASK, conf: Conf = None) -> None:
    """Show classes, labelled slices, images, model, cache and encoder of a task."""
    from fewsam.workspace.workspace import open_task

    with open_task(task, conf=parse_conf(conf)) as workspace:
        collection = workspace.collection
        encoder, held, model = workspace.embedder.info, workspace.cache.stats(), workspace.store.info()
        say(f"task     {task}")
        say(f"encoder  {encoder.title} at {encoder.input_size} px, {encoder.fingerprint[:12]}, "
            f"licence {encoder.licence}")  # fmt: skip
        say(f"engine   {workspace.encoder['engine']}")
        say(f"cache    {held['entries']} slices, {held['bytes'] / 1e9:.2f} of {held['max_bytes'] / 1e9:.1f} GB, "
            f"{held['pinned']} kept for training")  # fmt: skip
        say(f"model    {_model(model)}")
        for file, imported in zip(collection.imported_files(), collection.supports(), strict=False):
            meta = imported.meta
            say(f"import   {file.name}: {len(meta.shots)} labelled slices ({len(imported.pixels)} with images), "
                f"written {meta.written} by fewsam {meta.fewsam}")  # fmt: skip
        classes = Table("class", "value", "labelled slices")
        for value, (name, count) in enumerate(collection.counts().items(), 1):
            classes.add_row(Text(name), str(value), str(count))
        out().print(classes)
        if not collection.images():
            return
        images = Table("image", "split", "slices", "labelled")
        for record in collection.images():
            drawn = collection.labelled_slices(record.image_id, record.content_hash)
            numbers = ", ".join(map(str, drawn[:12])) + (", ..." if len(drawn) > 12 else "")
            images.add_row(Text(record.image_id), record.split, str(record.shape[0]), f"{len(drawn)}: {numbers}")
        out().print(images)


def _model(card: dict[str, Any]) -> str:
    if not card["trained"]:
        return "none yet: answers untrained"
    measured = "Dice not measured here"
    if card["metric"] is not None:
        measured = f"Dice {card['metric']:.3f} on {len(card['measured_on'])} slices held back"
    return f"{card['version']}, {measured}, {len(card['shots'])} labelled slices, {card['steps']} steps"
