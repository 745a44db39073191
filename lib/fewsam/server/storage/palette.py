"""A colour for each structure, the same in every viewer and in DICOM SEG: it stays when another one is deleted."""

from __future__ import annotations

from monailabel.datastore.utils.colors import GENERIC_ANATOMY_COLORS

from fewsam.collection.structures import Names

Colour = tuple[int, int, int]

# Where anatomy's usual colours, many of them brownish, would not be told apart in an overlay.
COLOURS: tuple[Colour, ...] = (
    (230, 75, 53), (77, 187, 213), (0, 160, 135), (243, 210, 62), (145, 97, 205), (250, 150, 90),
    (120, 200, 80), (240, 110, 170), (90, 130, 240), (190, 150, 100), (130, 225, 205), (200, 200, 200),
)  # fmt: skip


def colours_of(names: Names) -> dict[str, Colour]:
    """(r, g, b), 0 to 255, by display name. A structure's place among all that there have been gives its colour."""
    return {name: colour_of(name, names.order.index(key)) for key, name in names.present.items()}


def colour_of(name: str, place: int) -> Colour:
    """The colour of the structure at a place among all, from 0."""
    if place < len(COLOURS):
        return COLOURS[place]
    red, green, blue = GENERIC_ANATOMY_COLORS.get(name.casefold().replace("_", " "), COLOURS[place % len(COLOURS)])
    return int(red), int(green), int(blue)
