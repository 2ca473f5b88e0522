"""Thousands of damaged files through every ECG reader: no crash, hang, memory hunger or foreign error.

    python Testing/Benchmarks/fuzz_ecg.py --count 2000 [--real FOLDER]

Each format is written once (or taken from a folder of real files), damaged by seed and read; of the files that still
read, every tenth (``--analyse 1``: each) is analysed, too. Prints outcomes, the slowest case and peak memory; exit code
1 at a foreign error, more than 5 s or 500 MB. Seeds printed under "broke" belong into the corpus of
``Testing/ecg/test_fuzz.py``.
"""

import argparse
import resource
import shutil
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "COFGenerator"), str(ROOT / "Testing")]
MAX_S, MAX_MB = 5.0, 500.0


def victims(folder: Path, real: Path | None) -> list[tuple[str, Path]]:
    """Return (label, file) of the files to damage."""
    if real is not None:
        copies = [shutil.copy(path, folder) for path in sorted(real.iterdir()) if path.is_file()]
        return [(Path(copy).name, Path(copy)) for copy in copies]
    from support.ecg_files import FORMATS
    from support.ecg_writers import a_signal

    signal = a_signal(4.0)
    found = []
    for name, write, _ in FORMATS:
        path = write(folder, signal, 500.0)
        found.append((name, path))
        if name == "wfdb":
            found.append(("wfdb samples", path.with_suffix(".dat")))
    return found


def main() -> int:
    """Run; 0 when nothing broke."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--real", type=Path)
    parser.add_argument(
        "--analyse", type=int, default=10, metavar="N", help="analyse every Nth that reads (default 10)"
    )
    parser.add_argument("--only", metavar="LABEL", help="only files whose label holds this")
    parser.add_argument("--first", type=int, default=0, help="first seed")
    options = parser.parse_args()
    from COFGeneratorLib.ecg import analyse_ecg, read_ecg
    from COFGeneratorLib.errors import EcgError
    from support.mutations import mutate

    warnings.simplefilter("ignore")
    broken = False
    with tempfile.TemporaryDirectory() as scratch:
        for label, path in victims(Path(scratch), options.real):
            if options.only and options.only not in label:
                continue
            good = path.read_bytes()
            outcomes: Counter = Counter()
            slowest, broke = (0.0, -1), []
            for seed in range(options.first, options.first + options.count):
                path.write_bytes(mutate(good, seed))
                begin = time.process_time()
                try:
                    record = read_ecg(path)
                    outcomes["read"] += 1
                    if outcomes["read"] % options.analyse == 0:
                        analyse_ecg(record)
                        outcomes["analysed"] += 1
                except EcgError:
                    outcomes["refused"] += 1
                except BaseException as error:
                    if isinstance(error, KeyboardInterrupt):
                        raise
                    broke.append((seed, type(error).__name__))
                slowest = max(slowest, (time.process_time() - begin, seed))
            path.write_bytes(good)
            peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0
            broken |= bool(broke) or slowest[0] > MAX_S or peak_mb > MAX_MB
            print(
                f"{label:28s} {dict(outcomes)}  slowest {slowest[0]:.2f} s (seed {slowest[1]})  peak {peak_mb:.0f} MB"
                + (f"  broke {broke[:20]}" if broke else ""),
                flush=True,
            )
    return int(broken)


if __name__ == "__main__":
    sys.exit(main())
