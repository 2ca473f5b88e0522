"""Thousands of damaged images through every MRI reader: no crash, hang, memory hunger or foreign error.

    python Testing/Benchmarks/fuzz_mri.py --count 2000 [--real FOLDER] [--only nifti] [--first 0]

Each reader family (NIfTI, NRRD, MetaImage, DICOM, zip, Slicer scene) gets ``--count`` damaged inputs, spread over files
made for it and, with ``--real``, over the real ones in that folder. Prints outcomes, the slowest case and peak memory;
exit code 1 at a foreign error, more than 5 s of CPU or 500 MB over the start. A number printed under "broke" repeats
the find: ``--only FAMILY --first NUMBER --count 1``; such finds belong into ``Testing/anatomy/test_fuzz.py``.
"""

import argparse
import gzip
import io
import random
import resource
import signal
import sys
import tempfile
import time
import warnings
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "COFGenerator"), str(ROOT / "Testing")]
MAX_S, MAX_MB, HANG_S = 5.0, 500.0, 60
OBLIQUE = np.array([[0.9, 0.7, -6.1, 31], [1.1, -0.5, 5.1, -22], [0, -1.1, -6.1, 47], [0, 0, 0, 1.0]])
FAMILIES = ("nifti", "nrrd", "metaimage", "dicom", "zip", "scene")


def made_files(folder: Path) -> dict[str, list[Path]]:
    """Write one small file, or folder of files, of every family."""
    import SimpleITK as sitk

    cine = np.random.default_rng(0).integers(0, 900, (4, 5, 16, 18)).astype(np.int16)
    volumes = [sitk.GetImageFromArray(frame) for frame in cine]
    spacing = np.linalg.norm(OBLIQUE[:3, :3], axis=0)
    for volume in volumes:
        volume.SetSpacing(spacing.tolist())
    joined = sitk.JoinSeries(volumes)
    joined.SetSpacing([*spacing.tolist(), 40.0])
    names = {"nifti": ("a.nii", "a.nii.gz"), "nrrd": ("a.nrrd", "b.seq.nrrd"), "metaimage": ("a.mha", "b.mha")}
    found: dict[str, list[Path]] = {}
    for family, files in names.items():
        for file in files:
            sitk.WriteImage(joined if file.startswith("a") else volumes[0], str(folder / file), useCompression=True)
            found.setdefault(family, []).append(folder / file)
    found["dicom"] = [_made_dicom(folder / "dicom", cine.astype(np.uint16))]
    found["zip"] = [_packed(folder / "a.zip", sorted(found["dicom"][0].iterdir()), "x/")]
    scene = folder / "scene.mrml"
    scene.write_text(
        '<MRML><Volume id="V" references="storage:S;"/><VolumeArchetypeStorage id="S" fileName="a.nrrd"/></MRML>'
    )
    found["scene"] = [_packed(folder / "a.mrb", [scene, folder / "a.nrrd"], "s/")]
    return found


def _made_dicom(folder: Path, cine: np.ndarray) -> Path:
    from support.dicom_writer import dicom_cine, save_dicom

    return save_dicom(folder, dicom_cine(cine[:3, :4], OBLIQUE))


def _packed(path: Path, files: list[Path], where: str) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            archive.write(file, where + file.name)
    return path


def real_files(folder: Path, scratch: Path) -> dict[str, list[Path]]:
    """Sort the real files of a folder by family; a folder of DICOM files counts once, and once more as a zip."""
    found: dict[str, list[Path]] = {family: [] for family in FAMILIES}
    for path in sorted(folder.rglob("*")):
        for family, endings in (("nifti", (".nii", ".nii.gz")), ("nrrd", (".nrrd",)), ("metaimage", (".mha", ".mhd"))):
            if path.is_file() and path.name.endswith(endings):
                found[family].append(path)
    for number, inner in enumerate(sorted({path.parent for path in folder.rglob("*.dcm")})):
        found["dicom"].append(inner)
        found["zip"].append(_packed(scratch / f"real{number}.zip", sorted(inner.glob("*.dcm")), ""))
    return found


def damaged(source: Path, target: Path, dice: random.Random, mutate) -> Path:
    """Write a damaged copy of a file or of a folder of files."""
    if source.is_dir():
        target.mkdir(exist_ok=True)
        for file in source.iterdir():
            content = file.read_bytes()
            (target / file.name).write_bytes(mutate(content, dice) if dice.random() < 0.4 else content)
        return target
    target = target.with_name(source.name)
    content = source.read_bytes()
    if source.name.endswith(".gz") and dice.random() < 0.8:
        inner = gzip.decompress(content)
        start = mutate(inner[:4096], dice)  # what follows the header is pixels
        buffer = io.BytesIO()
        with gzip.GzipFile(fileobj=buffer, mode="wb", compresslevel=0) as out:
            out.write(start + inner[4096:])
        content = buffer.getvalue()
    elif zipfile.is_zipfile(source) and dice.random() < 0.7:
        content = _repacked(source, dice, mutate)
    else:
        content = mutate(content, dice)
    target.write_bytes(content)
    return target


def _repacked(source: Path, dice: random.Random, mutate) -> bytes:
    """Damage members of an archive, whose own tables stay whole."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(source) as archive, zipfile.ZipFile(buffer, "w") as out:
        for name in archive.namelist():
            content = archive.read(name)
            out.writestr(name, mutate(content, dice) if dice.random() < 0.5 else content)
    return buffer.getvalue()


def main() -> int:
    """Run; 0 when nothing broke."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0, help="first number")
    parser.add_argument("--real", type=Path)
    parser.add_argument("--only", choices=FAMILIES)
    options = parser.parse_args()
    from COFGeneratorLib.anatomy import read_cine, read_sax
    from COFGeneratorLib.errors import AnatomyError
    from support.mutations import mutate_image as mutate

    warnings.simplefilter("ignore")
    signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(TimeoutError("hang")))
    broken = False
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "made").mkdir()
        (Path(scratch) / "real").mkdir()
        files = made_files(Path(scratch) / "made")
        if options.real:
            for family, more in real_files(options.real, Path(scratch) / "real").items():
                files[family] += more
        start_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0
        for family in [options.only] if options.only else FAMILIES:
            outcomes: Counter = Counter()
            slowest, broke = (0.0, -1), []
            for number in range(options.first, options.first + options.count):
                dice = random.Random(f"{family} {number}")
                source = files[family][number % len(files[family])]
                with tempfile.TemporaryDirectory(dir=scratch) as inner:
                    path = damaged(source, Path(inner) / "x", dice, mutate)
                    begin = time.process_time()
                    signal.alarm(HANG_S)
                    try:
                        _ = read_cine(path) if number % 3 == 0 else read_sax(path, frame=number // 3 % 2)
                        outcomes["read"] += 1
                    except AnatomyError:
                        outcomes["refused"] += 1
                    except BaseException as error:
                        if isinstance(error, KeyboardInterrupt):
                            raise
                        broke.append((number, type(error).__name__))
                    finally:
                        signal.alarm(0)
                    slowest = max(slowest, (time.process_time() - begin, number))
            more_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0 - start_mb
            broken |= bool(broke) or slowest[0] > MAX_S or more_mb > MAX_MB
            print(
                f"{family:10s} {len(files[family])} files  {dict(outcomes)}  slowest {slowest[0]:.2f} s "
                f"(number {slowest[1]})  memory {start_mb:.0f} + {more_mb:.0f} MB"
                + (f"  broke {broke[:20]}" if broke else ""),
                flush=True,
            )
    return int(broken)


if __name__ == "__main__":
    sys.exit(main())
