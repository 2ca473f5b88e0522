"""Slicer scenes as anchors: the one image or cine in a ``.mrb`` archive or a ``.mrml`` file.

The scene is read as what it is, a zip and XML: nothing of it is run, unpacked under its own names, or looked for
outside it. Proxy volumes of sequences, label maps and files that hold no grey-scale stack are passed over.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from urllib.parse import unquote
from xml.etree.ElementTree import Element, ParseError

import numpy as np

from COFGeneratorLib.anatomy.checks import MAX_LABELS
from COFGeneratorLib.anatomy.readers.archive import Zip, is_zip
from COFGeneratorLib.anatomy.readers.header import VolumeHeader
from COFGeneratorLib.anatomy.readers.payload import read_frames
from COFGeneratorLib.anatomy.readers.volume import open_volume
from COFGeneratorLib.errors import AnatomyError

MAX_MRML_BYTES = 32 << 20
MOST_IMAGES = 64
SUFFIXES = (".seq.nrrd", ".seg.nrrd", ".seq.nhdr", ".nrrd", ".nii.gz", ".nii", ".mha", ".mhd")
_STORAGES = ("VolumeSequenceStorage", "VolumeArchetypeStorage", "NRRDStorage", "SegmentationStorage")
_LABELS = ("LabelMapVolume", "Segmentation")
_NOT_IMAGES = ("LabelMapVolume", "Segmentation", "VectorVolume", "DiffusionTensorVolume")


@dataclass(frozen=True)
class _Entry:
    """One stored image of a scene: its file, as the scene names it, and whether a transform moves it."""

    file: str
    moved: bool


_Found = tuple[VolumeHeader, Path, _Entry]


def looks_like_mrml(start: bytes) -> bool:
    """Whether leading bytes are a MRML scene's."""
    return start.lstrip(b"\xef\xbb\xbf \r\n\t").startswith((b"<?xml", b"<MRML")) and b"<MRML" in start


def is_scene(path: Path) -> bool:
    """Whether a file is a ``.mrml`` scene, or a zip that holds one."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        start = file.read(1024)
    if is_zip(start):
        return any(name.endswith(".mrml") for name in Zip(path).names)
    return looks_like_mrml(start)


@contextmanager
def scene_image(path: Path) -> Iterator[tuple[VolumeHeader, Path]]:
    """Give the header of a scene's one image or cine while its voxels can be read, and the file it came from.

    Raises:
        AnatomyError: If the scene is damaged, holds no such image or several.
    """
    with _files(path) as take:
        found = []
        for entry in _entries(take.mrml):
            image = take.image(entry.file)
            if image is None:
                continue
            try:
                _, header = open_volume(image)
            except AnatomyError:  # motion fields, pictures, tables: what is left below decides
                continue
            if not _is_label_map(header):
                found.append((header, image, entry))
        header, image, entry = _one_of(found)
        if entry.moved:
            said = "In its scene the image lies under a transform, which is not applied; harden it and save again."
            header = replace(header, warnings=(*header.warnings, said))
        yield header, path if isinstance(take, _ZipFiles) else image


@contextmanager
def scene_labels(path: Path) -> Iterator[VolumeHeader]:
    """Give the header of a scene's one segmentation or label map while its voxels can be read.

    Raises:
        AnatomyError: If the scene is damaged, holds none or several.
    """
    with _files(path) as take:
        found = []
        for entry in _entries(take.mrml, labels=True):
            image = take.image(entry.file)
            if image is not None:
                with suppress(AnatomyError):  # a closed surface, a table: what is left below decides
                    found.append(open_volume(image, "labels")[1])
        if len(found) != 1:
            raise AnatomyError(
                f"A Slicer scene used for labels holds one segmentation or label map; found {len(found)}. Save the "
                "wanted one alone as .seg.nrrd and give that."
            )
        yield found[0]


@contextmanager
def _files(path: Path) -> "Iterator[_ZipFiles | _FolderFiles]":
    with path.open("rb") as file:
        zipped = is_zip(file.read(16))
    with tempfile.TemporaryDirectory(prefix="cof-anchor-") as scratch:
        yield _ZipFiles(Zip(path), Path(scratch)) if zipped else _FolderFiles(path)


class _ZipFiles:
    """The files of a ``.mrb``, copied out one by one under names of ours."""

    def __init__(self, archive: Zip, scratch: Path) -> None:
        self._archive, self._scratch, self._count = archive, scratch, 0
        scenes = sorted((name for name in archive.names if name.endswith(".mrml")), key=lambda name: name.count("/"))
        if archive.size(scenes[0]) > MAX_MRML_BYTES:
            raise _damaged()
        self._root = PurePosixPath(scenes[0]).parent
        self.mrml = archive.read(scenes[0])

    def image(self, name: str) -> Path | None:
        """Return where a copy of the scene's file lies, None if the archive has no such file."""
        member = str(self._root / name) if str(self._root) != "." else name
        if member not in self._archive.names:
            return None
        self._count += 1
        suffix = next((s for s in SUFFIXES if name.lower().endswith(s)), ".bin")
        copy = self._scratch / f"image{self._count}{suffix}"
        copy.write_bytes(self._archive.read(member))
        return copy


class _FolderFiles:
    """The files beside or below a ``.mrml``."""

    def __init__(self, path: Path) -> None:
        if path.stat().st_size > MAX_MRML_BYTES:
            raise _damaged()
        self._folder = path.parent.resolve()
        self.mrml = path.read_bytes()

    def image(self, name: str) -> Path | None:
        """Return the path of the scene's file, None where it is not there or not below the scene's folder."""
        found = (self._folder / name).resolve()
        return found if found.is_relative_to(self._folder) and os.path.isfile(found) else None


def _entries(mrml: bytes, labels: bool = False) -> list[_Entry]:
    """List the stored images of a scene that are no proxies of a sequence: grey-scale ones, or those with labels."""
    root = _parse(mrml)
    nodes = {node.get("id", ""): node for node in root.iter() if node.get("id")}
    proxies: dict[str, str] = {}  # proxy volume → its sequence
    for browser in root.iter("SequenceBrowser"):
        references = _references(browser)
        for role, ids in references.items():
            if role.startswith("dataNodeRef"):
                sequence = references.get("sequenceNodeRef" + role.removeprefix("dataNodeRef"), [""])
                proxies |= dict.fromkeys(ids, sequence[0])
    moved = {identifier for identifier, node in nodes.items() if "transform" in _references(node)}
    moved |= {sequence for proxy, sequence in proxies.items() if proxy in moved}
    out = []
    for identifier, node in nodes.items():
        wanted = node.tag in _LABELS if labels else node.tag not in _NOT_IMAGES
        if identifier in proxies or not wanted:
            continue
        for stored in _references(node).get("storage", []):
            storage = nodes.get(stored)
            file = unquote(storage.get("fileName", "")) if storage is not None and storage.tag in _STORAGES else ""
            if file:
                out.append(_Entry(file, identifier in moved))
    return out[:MOST_IMAGES]


def _references(node: Element) -> dict[str, list[str]]:
    """Parse ``references="role:id1 id2;role2:id3;"``."""
    out: dict[str, list[str]] = {}
    for part in node.get("references", "").split(";"):
        role, found, ids = part.partition(":")
        if found:
            out.setdefault(role.strip(), []).extend(ids.split())
    return out


def _parse(mrml: bytes) -> Element:
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import fromstring

    try:
        return fromstring(mrml, forbid_dtd=True, forbid_entities=True, forbid_external=True)
    except (DefusedXmlException, ParseError, LookupError, UnicodeError, ValueError):
        raise _damaged() from None


def _is_label_map(header: VolumeHeader) -> bool:
    """Whether a file holds a few whole numbers only."""
    if header.dtype.kind == "f" and header.dtype.itemsize > 4:
        return False
    numbers = read_frames(header, 0).ravel()
    some = numbers[:: max(numbers.size // 20_000, 1)]
    return len(np.unique(some)) <= MAX_LABELS


def _one_of(found: list[_Found]) -> _Found:
    """Return the only cine, or where there is none the only volume.

    Raises:
        AnatomyError: If there is none, or no way to choose.
    """
    cines = [one for one in found if one[0].n_frames > 1]
    volumes = [one for one in found if one[0].n_frames == 1]
    if len(cines) == 1 or (not cines and len(volumes) == 1):
        return (cines or volumes)[0]
    if not found:
        raise AnatomyError(
            "A Slicer scene used as an anchor holds one grey-scale short-axis volume or cine in its Data folder; found "
            "none. Save the volume alone as .nrrd and give that."
        )
    raise AnatomyError(
        f"A Slicer scene used as an anchor holds one short-axis volume or cine; found {len(cines)} cines and "
        f"{len(volumes)} single volumes. Save the wanted one alone as .nrrd or .seq.nrrd and give that."
    )


def _damaged() -> AnatomyError:
    return AnatomyError(
        "A Slicer scene is well-formed XML without entities; this one is damaged, too large or harmful. Save it again "
        "in 3D Slicer, or give the volume as .nrrd."
    )
