"""XML without its dangers: no entities, no external files, bounded size."""

from xml.etree.ElementTree import Element, ParseError

from COFGeneratorLib.errors import EcgError

MAX_TAGS = 300_000
MAX_ATTRIBUTES = 300_000
"""Each becomes an object of some hundred bytes; ECG files have some thousands at most."""
MAX_DEPTH = 100
_BLANKS = b" \t\r\n"


def parse(data: bytes) -> Element:
    """Parse XML and strip namespaces from the tags.

    Entities, external references, and more tags or attributes than any ECG has are refused. Bytes that contradict
    the declared or default encoding are read as Latin-1 once: devices write names in it, and the samples are digits
    anyway.

    Raises:
        EcgError: If the XML is malformed or dangerous.
    """
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import fromstring

    if data.count(b"<") > MAX_TAGS or data.count(b"=") > MAX_ATTRIBUTES:
        raise EcgError(
            f"An ECG in XML has fewer than {MAX_TAGS:,} tags and attributes; found more. The file is damaged."
        )
    try:
        try:
            root = fromstring(data, forbid_entities=True, forbid_external=True)
        except (ParseError, LookupError, UnicodeError, ValueError) as error:
            if isinstance(error, DefusedXmlException) or data[:2] in (b"\xff\xfe", b"\xfe\xff"):
                raise
            body = data.lstrip(_BLANKS).removeprefix(b"\xef\xbb\xbf").lstrip(_BLANKS)
            if body.startswith(b"<?xml"):
                body = body[body.find(b"?>") + 2 :]
            root = fromstring(
                b'<?xml version="1.0" encoding="iso-8859-1"?>' + body, forbid_entities=True, forbid_external=True
            )
    except DefusedXmlException:
        raise EcgError(
            "XML without entities and external references is expected; found some. The file is not from an ECG "
            "device as it is; export it again."
        ) from None
    except (ParseError, LookupError, UnicodeError, ValueError):
        raise EcgError(
            "Well-formed XML is expected; found damaged or cut-off XML. Export the recording again."
        ) from None
    level, depth = [root], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise EcgError(f"XML of up to {MAX_DEPTH} levels is expected; found more. The file is damaged or hostile.")
        for element in level:
            if isinstance(element.tag, str) and "}" in element.tag:
                element.tag = element.tag.rsplit("}", 1)[1]
        level = [child for element in level for child in element]
    return root


def text_of(parent: Element | None, path: str) -> str | None:
    """Return the stripped text at a path below ``parent``; None when absent or empty."""
    if parent is None:
        return None
    found = parent.find(path)
    if found is None or found.text is None:
        return None
    return found.text.strip() or None
