"""Texts as they are."""


def tr(text):
    """Return the text untranslated."""
    return text


def translate(context, text):
    """Return the text untranslated."""
    return text
