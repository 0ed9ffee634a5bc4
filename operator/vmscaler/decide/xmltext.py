"""XML in and out, with nothing in it that could become structure or reach outside.

Called by `job` and `job_fields`, and by the Jenkins adapter for credentials. Jenkins stores XML 1.1 (facts/jenkins.md config.xml); Python's
parser knows 1.0 only, which is the same for all that Jenkins writes except character references to control characters.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

_DECLARATION = re.compile(r"\A\ufeff?\s*<\?xml\s[^>]*\?>")
# Char of XML 1.0, without DEL and the C1 controls that XML 1.1 wants escaped.
_NOT_CHAR = re.compile("[^\t\n\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_HEADER = '<?xml version="1.1" encoding="UTF-8"?>\n'


def parse(text: str) -> ET.Element:
    """The root element. Raises ValueError for what is no XML, and for a document type (entities): we never write one."""
    if "<!DOCTYPE" in text.upper():
        raise ValueError("a document type is not accepted")
    try:
        return ET.fromstring(_DECLARATION.sub("", text, count=1))  # noqa: S314 - no document type, so no entities
    except ET.ParseError as error:
        raise ValueError(f"not readable as XML: {error}") from None


def render(root: ET.Element) -> str:
    """As Jenkins takes it: XML 1.1, UTF-8 (encode it as such). Escaping is the library's. Raises ValueError on a character XML cannot hold."""
    for element in root.iter():
        for value in (element.text, element.tail, *element.attrib.values()):
            if value and (bad := _NOT_CHAR.search(value)):
                raise ValueError(f"{element.tag}: U+{ord(bad.group()):04X} cannot stand in XML")
    return _HEADER + ET.tostring(root, encoding="unicode") + "\n"


def only(root: ET.Element, path: str) -> ET.Element:
    """The one element at `path`. Raises ValueError where there is none or more than one: the template is not ours."""
    found = root.findall(path)
    if len(found) != 1:
        raise ValueError(f"{len(found)} elements at {path}, expected one")
    return found[0]
