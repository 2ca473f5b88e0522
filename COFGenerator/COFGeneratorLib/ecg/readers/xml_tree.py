"""XML without its dangers: no entities, no external files, bounded size."""

import re
from xml.etree.ElementTree import Element, ParseError

from COFGeneratorLib.errors import EcgError

MAX_TAGS = 1_000_000


def parse(data: bytes) -> Element:
    """Parse XML and strip namespaces from the tags.

    Entities, external references and more than ``MAX_TAGS`` tags are refused. Bytes that contradict the declared or
    default encoding are read as Latin-1 once: devices write names in it, and the samples are digits anyway.

    Raises:
        EcgError: If the XML is malformed or dangerous.
    """
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import fromstring

    if data.count(b"<") > MAX_TAGS:
        raise EcgError(f"An ECG in XML has fewer than {MAX_TAGS:,} tags; found more. The file is damaged or hostile.")
    try:
        try:
            root = fromstring(data, forbid_entities=True, forbid_external=True)
        except (ParseError, LookupError, UnicodeError, ValueError) as error:
            if isinstance(error, DefusedXmlException) or data[:2] in (b"\xff\xfe", b"\xfe\xff"):
                raise
            body = re.sub(rb"^\s*(\xef\xbb\xbf)?\s*<\?xml[^>]*\?>", b"", data)
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
    for element in root.iter():
        if isinstance(element.tag, str) and "}" in element.tag:
            element.tag = element.tag.rsplit("}", 1)[1]
    return root


def text_of(parent: Element | None, path: str) -> str | None:
    """Return the stripped text at a path below ``parent``; None when absent or empty."""
    if parent is None:
        return None
    found = parent.find(path)
    if found is None or found.text is None:
        return None
    return found.text.strip() or None
