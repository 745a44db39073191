"""What all routes of the panel ask of the open image and of structures."""

from __future__ import annotations

from pathlib import Path

import pytest

from fewsam.collection import Collection
from fewsam.server.errors import RequestError
from fewsam.server.routes.panel_image import present_name


def test_a_structure_is_told_by_its_identity_whatever_it_was_called(tmp_path: Path) -> None:
    collection = Collection(tmp_path, ("liver", "spleen"))
    collection.rename_structure("liver", "hepar")
    collection.rename_structure("spleen", "liver")
    names = collection.names
    assert present_name(names, "liver", "liver") == "hepar"
    assert present_name(names, "", "liver") == "liver"  # of a client that knows names alone
    collection.delete_structure("liver")
    with pytest.raises(RequestError, match="hepar was deleted since"):
        present_name(collection.names, "liver", "hepar")
