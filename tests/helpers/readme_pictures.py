"""The strip and the film of the loop in OHIF, for the README, from the screenshots of the end-to-end test:

FEWSAM_PICTURES=pictures pytest tests/server/viewer/test_ohif.py -k embedded
python tests/helpers/readme_pictures.py pictures/embedded docs/images
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image, ImageDraw

STEPS = {"2-drawn": "draw on three slices", "4-untrained": "segment: untrained", "5-points": "correct with points",
         "8-trained": "correct, train, segment again"}  # fmt: skip
FILM = {
    "1-open": "open a study",
    "2-drawn": "draw on three slices",
    "3-submitted": "submit",
    "4-untrained": "segment: untrained",
    "5-points": "correct with points",
    "6-corrected": "draw where the strip is red",
    "7-training": "train",
    "8-trained": "segment again",
    "9-next": "next slice: where a label would teach most",
    "10-restarted": "after a restart: all is there",
}
WIDTH = 640
SECONDS = 1.8  # a picture


def main(source: Path, target: Path) -> None:
    """Two by two, with a caption each; and all steps one after the other."""
    tiles = [_captioned(source / f"{name}.png", caption, WIDTH) for name, caption in STEPS.items()]
    height = tiles[0].height
    strip = Image.new("RGB", (2 * WIDTH, 2 * height))
    for number, tile in enumerate(tiles):
        strip.paste(tile, (number % 2 * WIDTH, number // 2 * height))
    strip.quantize(128).save(target / "ohif-loop.png", optimize=True)
    film = [_captioned(source / f"{name}.png", caption, 960) for name, caption in FILM.items()]
    options = {"save_all": True, "append_images": film[1:], "duration": int(1000 * SECONDS), "loop": 0}
    film[0].save(target / "ohif-loop.webp", quality=70, method=6, **options)


def _captioned(file: Path, caption: str, width: int) -> Image.Image:
    picture = Image.open(file).convert("RGB")
    picture = picture.resize((width, picture.height * width // picture.width), Image.Resampling.LANCZOS)
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, picture.height - 22, width, picture.height), fill=(12, 18, 48))
    draw.text((8, picture.height - 18), caption, fill=(230, 236, 255))
    return picture


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
