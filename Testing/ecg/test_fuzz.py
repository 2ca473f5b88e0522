"""Damaged files of every format give an error of ours or a record, soon; never anything else."""

import contextlib
import time

import pytest
from COFGeneratorLib.ecg import analyse_ecg, read_ecg
from COFGeneratorLib.errors import EcgError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import mutations

SEEDS = 30
"""Of each format in the test run; ``Testing/Benchmarks/fuzz.py`` runs thousands."""

FINDS: dict[str, tuple[int, ...]] = {}
"""Seeds that once broke a reader, by format: a regression corpus."""


def survive(folder, path, data: bytes) -> None:
    """Read damaged bytes in place of the file; anything but ``EcgError`` fails the test."""
    target = folder / path.name
    target.write_bytes(data)
    begin = time.process_time()
    with contextlib.suppress(EcgError):
        analyse_ecg(read_ecg(target))
    assert time.process_time() - begin < 5.0


def test_damaged_files_are_refused_or_read(tmp_path, a_signal, written):
    name, write, _ = written
    path = write(tmp_path, a_signal[:, :2000], 500.0)
    victims = [path] if name != "wfdb" else [path, path.with_suffix(".dat")]
    for victim in victims:
        good = victim.read_bytes()
        for seed in (*FINDS.get(name, ()), *range(SEEDS)):
            data = mutations.mutate(good, seed)
            victim.write_bytes(data)
            survive(tmp_path, victim, data)
        victim.write_bytes(good)


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    start=st.sampled_from([
        b"", b"<CardiologyXML>", b"<RestingECG>", b"<restingecgdata>", b"<AnnotatedECG>", b"I,II\n", b"# fs_hz: 500\n",
        b"rec 12 500 1000\n", b"0       ", b"\x00" * 128 + b"DICM", b"MATLAB 5.0".ljust(124) + b"\x00\x01IM",
        b"\x89HDF\r\n\x1a\n", b"\x00\x00\x20\x00\x00\x00\x00\x00\x00\x00\x88\x00\x00\x00\x14\x14SCPECG",
    ]),
    rest=st.binary(max_size=600),
)  # fmt: skip
def test_any_bytes_are_refused(tmp_path, start, rest):
    path = tmp_path / "x"
    path.write_bytes(start + rest)
    with pytest.raises(EcgError):
        read_ecg(path)
