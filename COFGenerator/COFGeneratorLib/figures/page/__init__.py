"""``viewer.html``: a result to watch in a browser, in one file that loads nothing from anywhere."""

from COFGeneratorLib.lazy import public

__getattr__, __all__ = public(__name__, {"COFGeneratorLib.figures.page.writing": "PAGE_FILE write_page"})
