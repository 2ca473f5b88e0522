"""Says on the pictures themselves that their anatomy is a template."""

from pathlib import Path
from typing import TYPE_CHECKING

from COFGeneratorLib.figures.film import save_film
from COFGeneratorLib.figures.palette import BACKGROUND, WARNING, rgb

if TYPE_CHECKING:
    from PIL import Image

WORDS = "TEMPLATE ANATOMY · NOT THE PATIENT'S · volumes are the population's"


def stamp_pictures(folder: Path) -> None:
    """Add a banner above ``preview.png`` and ``preview.gif`` of a result's folder."""
    from PIL import Image, ImageSequence

    sheet = Path(folder) / "preview.png"
    if sheet.is_file():
        with Image.open(sheet) as picture:
            _banner(picture.convert("RGB")).save(sheet)
    film = Path(folder) / "preview.gif"
    if film.is_file():
        with Image.open(film) as picture:
            delays = [frame.info.get("duration", 40) for frame in ImageSequence.Iterator(picture)]
            frames = [_banner(frame.convert("RGB")) for frame in ImageSequence.Iterator(picture)]
        save_film(frames, film, delays, WORDS)


def _banner(picture: "Image.Image") -> "Image.Image":
    from PIL import Image, ImageDraw, ImageFont

    height = max(28, picture.width // 40)
    out = Image.new("RGB", (picture.width, picture.height + height), rgb(BACKGROUND))
    out.paste(picture, (0, height))
    font = ImageFont.load_default(round(0.6 * height))
    ImageDraw.Draw(out).text((picture.width / 2, height / 2), WORDS, fill=rgb(WARNING), font=font, anchor="mm")
    return out
