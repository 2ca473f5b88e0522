"""What decides a result, as one hash: by it a result is known to be that of a request."""

import glob
import hashlib
import json
from dataclasses import fields
from pathlib import Path

from COFGeneratorLib.cases.request import GenerateRequest
from COFGeneratorLib.files import sha256_of
from COFGeneratorLib.resources import default_bundle

FILES = ("anchor", "ecg", "labels", "encoder", "segmenter")
"""Parts of a request that decide by their content, whatever they are called."""
NOT_DECIDING = ("out", "overwrite", "device", "model", *FILES)
"""Parts that are not settings; where a result is computed does not decide it."""
COMPANIONS = {
    ".hea": (".hea", ".dat", ".mat"), ".mhd": (".mhd", ".raw", ".zraw"), ".nhdr": (".nhdr", ".raw", ".raw.gz"),
    ".hdr": (".hdr", ".img", ".img.gz"), ".img": (".hdr", ".img"),
}  # fmt: skip
"""Files of one stem that a header keeps its samples or voxels in."""


def request_hash(request: GenerateRequest) -> str:
    """Return a hash of all that decides a case's result: contents of its files, settings, model.

    Raises:
        FileNotFoundError: If one of its files is not there.
    """
    settings = (part.name for part in fields(request) if part.name not in NOT_DECIDING)
    what = {name: getattr(request, name) for name in settings}
    what["files"] = {
        part: [(path.suffix, _content_sha256(path)) for path in _together(getattr(request, part))]
        for part in FILES if getattr(request, part)
    }  # fmt: skip
    model = Path(str(request.model or default_bundle()))
    what["model"] = sha256_of(model / "configs" / "metadata.json")  # it holds the weights' checksums
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


def _together(name: str) -> list[Path]:
    """Return a file and those that it keeps its data in: a header says nothing without its samples or voxels."""
    path = Path(name)
    suffixes = COMPANIONS.get(path.suffix.lower())
    if suffixes is None:
        return [path]
    beside = {one for one in path.parent.glob(f"{glob.escape(path.stem)}.*") if one.name[len(path.stem) :] in suffixes}
    if path.suffix.lower() in (".mhd", ".nhdr") and path.is_file():
        from COFGeneratorLib.anatomy.readers.volume import open_volume

        beside.add(open_volume(path)[1].payload.path)  # under whatever name the header gives
    return sorted(beside | {path})


def _content_sha256(path: Path) -> str:
    """Return the hash of a file, or of the files of a folder, whatever they are called and in whatever order."""
    if not path.is_dir():
        return sha256_of(path)
    from COFGeneratorLib.anatomy.readers.archive import Folder

    digests = sorted(sha256_of(name) for name in Folder(path).names)
    return hashlib.sha256("".join(digests).encode()).hexdigest()
