"""Frames that are too many for memory are the same frames, wherever they lie."""

import io

import numpy as np
import pytest
from COFGeneratorLib.generator import frame_store
from COFGeneratorLib.generator.frame_store import FrameStore

SHAPE, FRAMES, AT = (3, 6, 5), 7, 4
BOX = slice(0, 3), slice(1, 5), slice(2, 4)
WHERE = np.arange(90).reshape(SHAPE)[BOX].ravel()


@pytest.fixture
def moved():
    return np.random.default_rng(0).uniform(0, 900, (FRAMES, 3, 4, 2)).astype(np.float32)


def stored(moved, still):
    store = FrameStore(still, FRAMES, AT)
    for start in (0, 3, 6):
        part = moved[start : start + 3]
        store.add(WHERE, part.reshape(len(part), -1))
    return store.array()


def expected(moved, still):
    frames = np.repeat(still[None], FRAMES, axis=0)
    frames[(slice(None), *BOX)] = moved
    frames[AT] = still
    return frames


@pytest.mark.parametrize("limit", [0, 10**9])
def test_frames_come_back_as_they_were_given_and_the_anchor_s_is_the_anchor(limit, moved, monkeypatch):
    monkeypatch.setattr(frame_store, "LARGEST_IN_MEMORY", limit)
    still = np.arange(90, dtype=np.float32).reshape(SHAPE)
    frames = stored(moved, still)
    assert np.array_equal(frames, expected(moved, still))
    assert type(frames) is np.ndarray
    frames[0] += 1.0  # a caller's to change, as any array
    assert np.array_equal(frames[1:], expected(moved, still)[1:])


def test_many_frames_lie_in_a_file_and_few_in_memory(moved, monkeypatch):
    still = np.zeros(SHAPE, np.float32)
    assert not isinstance(stored(moved, still).base, np.memmap)
    monkeypatch.setattr(frame_store, "LARGEST_IN_MEMORY", FRAMES * still.nbytes - 1)
    assert isinstance(stored(moved, still).base, np.memmap)


class FullDisk(io.BytesIO):
    """Room for three frames of float32."""

    def write(self, data):
        if self.tell() + len(data) > 3 * 90 * 4:
            super().write(data[:100])
            raise OSError(28, "No space left on device")
        return super().write(data)


def test_without_room_for_the_file_all_frames_stay_in_memory(moved, monkeypatch):
    monkeypatch.setattr(frame_store, "LARGEST_IN_MEMORY", 0)
    monkeypatch.setattr(frame_store.tempfile, "TemporaryFile", lambda **_: FullDisk())
    still = np.arange(90, dtype=np.float32).reshape(SHAPE)
    frames = stored(moved, still)
    assert np.array_equal(frames, expected(moved, still))
    assert not isinstance(frames.base, np.memmap)
