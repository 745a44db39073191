"""The strip of pictures in the README, from the screenshots of the end-to-end test:

FEWSAM_PICTURES=pictures pytest tests/test_ohif.py -k embedded && python tests/pictures.py pictures/embedded docs
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image, ImageDraw

STEPS = {"2-drawn": "draw on two slices", "4-untrained": "segment: untrained", "5-points": "correct with points",
         "7-trained": "train, segment again"}  # fmt: skip
WIDTH = 640


def main(source: Path, target: Path) -> None:
    """Two by two, with a caption each."""
    tiles = []
    for name, caption in STEPS.items():
        picture = Image.open(source / f"{name}.png").convert("RGB")
        picture = picture.resize((WIDTH, picture.height * WIDTH // picture.width), Image.Resampling.LANCZOS)
        draw = ImageDraw.Draw(picture)
        draw.rectangle((0, picture.height - 22, WIDTH, picture.height), fill=(12, 18, 48))
        draw.text((8, picture.height - 18), caption, fill=(230, 236, 255))
        tiles.append(picture)
    height = tiles[0].height
    strip = Image.new("RGB", (2 * WIDTH, 2 * height))
    for number, tile in enumerate(tiles):
        strip.paste(tile, (number % 2 * WIDTH, number // 2 * height))
    strip.quantize(128).save(target / "ohif-loop.png", optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
