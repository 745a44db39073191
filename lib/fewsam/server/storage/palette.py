"""A colour for each class, the same in every viewer and in DICOM SEG."""

from __future__ import annotations

from monailabel.datastore.utils.colors import GENERIC_ANATOMY_COLORS

# Where anatomy's usual colours, many of them brownish, would not be told apart in an overlay.
COLOURS = (
    (230, 75, 53), (77, 187, 213), (0, 160, 135), (243, 210, 62), (145, 97, 205), (250, 150, 90),
    (120, 200, 80), (240, 110, 170), (90, 130, 240), (190, 150, 100), (130, 225, 205), (200, 200, 200),
)  # fmt: skip


def colour_of(name: str, number: int) -> tuple[int, int, int]:
    """(r, g, b), 0 to 255, of a class; ``number`` is its place among the classes, from 0."""
    if number < len(COLOURS):
        return COLOURS[number]
    red, green, blue = GENERIC_ANATOMY_COLORS.get(name.casefold().replace("_", " "), COLOURS[number % len(COLOURS)])
    return int(red), int(green), int(blue)
