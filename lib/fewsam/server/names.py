"""Names that clients send and that become parts of paths."""

from __future__ import annotations

import re
from enum import Enum
from typing import Any

from monailabel.interfaces.datastore import DefaultLabelTag

from fewsam.server.errors import RequestError


def is_plain(name: str) -> bool:
    """Whether a name can be part of a path without leading elsewhere."""
    return re.fullmatch(r"[A-Za-z0-9_-]+", name) is not None


def check_tag(tag: Any) -> str:
    """``tag``, text or MONAI Label's own enumeration, if it can name a folder of labels.

    Raises:
        RequestError: it cannot.
    """
    name = str(tag.value if isinstance(tag, Enum) else tag)
    if not is_plain(name):
        raise RequestError(f"tag {name!r} must consist of letters, digits, - and _")
    return name


def check_answer_tag(tag: Any) -> str:
    """`check_tag` of a tag under which a model's answer is to be saved.

    Raises:
        RequestError: it is that of labels to learn from, which are people's.
    """
    name = check_tag(tag)
    if name == DefaultLabelTag.FINAL.value:  # it would take the place of what a person drew
        raise RequestError(
            "an answer is not a final label: save it under the label_tag original, or check it and send it as a label"
        )
    return name


def check_id(image_id: str) -> str:
    """``image_id``, if it can be the name of a file.

    Raises:
        RequestError: it leads elsewhere, is hidden, or is longer than names are.
    """
    odd = re.search(r"[/\\]", image_id) or not image_id.isprintable() or len(image_id.encode(errors="replace")) > 180
    if odd or image_id.startswith(".") or not image_id.strip():
        raise RequestError(
            f"image {image_id[:80]!r} cannot be stored under this id; use letters, digits, -, _ and dots"
        )
    return image_id
