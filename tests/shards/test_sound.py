"""Sounds from strangers: WAV read by hand, the rest by soundfile, and headers that lie."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import tracemalloc
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import atd
from atd.errors import LocalError, SchemaMismatch, ShardError
from atd.schema import fields
from atd.schema.export import to_python
from atd.shards.media import Audio

TONE = np.sin(np.arange(2000) / 20)
STEREO = np.stack([TONE, -TONE / 2], axis=1).astype(np.float32)


def encoded(form: str, subtype: str | None = None, samples: NDArray[np.float32] = STEREO) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, samples, 48_000, format=form, subtype=subtype)
    return out.getvalue()


def refusal(act: Callable[[], object]) -> str | None:
    """What ``act`` is refused with, if it is refused; any other exception is a failure."""
    try:
        act()
    except ShardError as error:
        return str(error)
    return None


@pytest.mark.parametrize(
    ("form", "subtype", "most"),
    [
        ("WAV", "PCM_U8", 1e-2),
        ("WAV", "PCM_16", 1e-4),
        ("WAV", "PCM_24", 1e-6),
        ("WAV", "PCM_32", 1e-6),
        ("WAV", "FLOAT", 0),
        ("WAV", "DOUBLE", 0),
        ("WAVEX", "PCM_16", 1e-4),
        ("WAVEX", "FLOAT", 0),
        ("FLAC", "PCM_16", 1e-4),
        ("OGG", "VORBIS", 0.1),
        ("MP3", None, 0.1),
    ],
)
def test_the_usual_formats_decode_to_float32(form: str, subtype: str | None, most: float) -> None:
    sound = Audio(encoded(form, subtype))
    assert (sound.rate, sound.channels) == (48_000, 2)
    made = sound.decode()
    assert made.dtype == np.float32
    assert made.shape == (sound.frames, 2)
    assert np.abs(made[: len(STEREO)] - STEREO[: len(made)]).max() <= most
    assert np.array_equal(np.asarray(sound), made)


@settings(max_examples=40)
@given(
    width=st.sampled_from([1, 2, 3, 4]), channels=st.integers(1, 5), data=st.binary(max_size=240)
)
def test_wav_is_what_soundfile_makes_of_it(width: int, channels: int, data: bytes) -> None:
    data = data[: len(data) // (width * channels) * (width * channels)]
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setparams((channels, width, 8000, 0, "NONE", ""))
        file.writeframes(data)
    theirs, rate = soundfile.read(io.BytesIO(out.getvalue()), dtype="float32", always_2d=True)
    ours = Audio(out.getvalue())
    assert ours.rate == rate
    assert np.array_equal(ours.decode(), theirs)


def lie(data: bytes, at: int, form: str, value: int) -> bytes:
    out = bytearray(data)
    struct.pack_into(form, out, at, value)
    return bytes(out)


WAV = encoded("WAV", "PCM_16")
FLAC = encoded("FLAC", "PCM_16")
# A hundred thousand empty chunks, no two of one name.
CRUMBS = b"".join(struct.pack("<4sI", number.to_bytes(4), 0) for number in range(100_000))
CRUMBS = b"RIFF" + struct.pack("<I", 4 + len(CRUMBS)) + b"WAVE" + CRUMBS
# 36 bits in the middle of the first block of a FLAC file: the number of frames.
ETERNAL = lie(FLAC, 21, ">B", FLAC[21] | 0x0F)[:22] + b"\xff\xff\xff\xff" + FLAC[26:]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (lie(WAV, 40, "<I", 0xFFFFFFF0), "chunk b'data' of 4294967280 bytes"),
        (lie(WAV, 4, "<I", 0xFFFFFFF0), "claims 4294967288 bytes and has"),
        (lie(WAV, 16, "<I", 0x7FFFFFFF), "chunk b'fmt ' of 2147483647 bytes"),
        (lie(WAV, 22, "<H", 0), "0 channels"),
        (lie(WAV, 24, "<I", 0), "0 Hz"),
        (lie(WAV, 32, "<H", 3), "frames of 3 bytes"),
        (lie(WAV, 34, "<H", 24), "frames of 4 bytes"),
        (lie(WAV, 34, "<H", 7), "codec 1 with 7 bits"),
        (lie(WAV, 20, "<H", 2), "codec 2 with 16 bits"),
        (lie(lie(WAV, 40, "<I", 7), 4, "<I", 43), "cut short?"),
        (WAV[:44][:36], "claims"),
        (b"RIFF\4\0\0\0WAVE", "without its format"),
        (CRUMBS, "more than 1000 chunks"),
        (ETERNAL, "a sound of 68719476735 frames of 2 channels"),
        (FLAC[:200], "not a decodable sound"),
        (b"fLaC" + bytes(500), "not a decodable sound"),
        (b"OggS" + bytes(500), "not a decodable sound"),
        (b"FORM\0\0\0\4AIFF", "none of WAV, FLAC, OGG, MP3"),
        (b"", "none of WAV"),
    ],
)
def test_a_header_that_lies_is_refused_before_anything_large_is_made(
    data: bytes, said: str
) -> None:
    sound = Audio(data, "s.tar: sample k: field sound")
    tracemalloc.start()
    try:
        with pytest.raises(ShardError) as caught:
            sound.decode()
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    assert str(caught.value).startswith("s.tar: sample k: field sound: ")
    assert said in str(caught.value)


def test_a_sound_that_claims_more_frames_than_came_is_refused() -> None:
    longer = encoded("FLAC", "PCM_16", np.tile(STEREO, (40, 1)))
    claiming = FLAC[:22] + longer[22:26] + FLAC[26:]
    assert Audio(claiming).frames == 80_000
    assert refusal(Audio(claiming).decode)


@pytest.mark.parametrize("form", ["WAV", "FLAC", "OGG"])
def test_any_cut_or_flip_of_a_sound_is_a_shard_error_or_a_sound(form: str) -> None:
    whole = encoded(form, {"WAV": "PCM_16", "FLAC": "PCM_16", "OGG": "VORBIS"}[form], STEREO[:300])
    for at in range(0, len(whole), max(1, len(whole) // 150)):
        flipped = lie(whole, at, "B", whole[at] ^ 0x55)
        for data in (whole[:at], flipped):
            sound = Audio(data, "here")
            for ask in (sound.decode, lambda: sound.frames):  # noqa: B023
                said = refusal(ask)
                assert said is None or said.startswith("here: ")


@atd.sample
class Spoken:
    sound: atd.Audio
    words: str


@atd.sample
class Heard:
    sound: NDArray[np.float32]
    words: str


@atd.sample
class Mono:
    sound: Annotated[NDArray[np.float32], atd.Shape("frames", 1)]


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("spoken") / "packed"
    samples = [
        Spoken(Audio(encoded("WAV", "PCM_16", STEREO[: 100 + at])), f"word {at}") for at in range(4)
    ]
    atd.pack(samples, folder, name="spoken", schema=Spoken, order="keep")
    return str(folder)


def test_a_class_takes_sounds_encoded_or_decoded(spoken: str) -> None:
    assert atd.schema_of(Spoken)["sound"].kind == fields.Audio()
    rows = atd.load(spoken)
    assert isinstance(rows[0].sound, Audio)
    assert rows[0].sound.rate == 48_000
    assert isinstance(atd.load(spoken, schema=Spoken)[1].sound, Audio)
    heard = atd.load(spoken, schema=Heard)
    assert heard[1].sound.shape == (101, 2)
    batch = next(iter(heard.batched(4)))
    assert isinstance(batch.sound, atd.Ragged)
    assert [len(sound) for sound in batch.sound] == [100, 101, 102, 103]
    assert [len(sound) for sound in next(iter(rows.batched(2))).sound] == [444, 448]


def test_a_class_that_asks_for_what_no_sound_is(spoken: str) -> None:
    @atd.sample
    class Whole:
        sound: NDArray[np.int16]

    with pytest.raises(SchemaMismatch, match="samples are float32"):
        atd.load(spoken, schema=Whole)
    with pytest.raises(SchemaMismatch, match=r"expected an array of shape \(frames, 1\)"):
        atd.load(spoken, schema=Mono)[0]


def test_what_is_written_about_a_sound_is_a_sound() -> None:
    assert "sound: atd.Audio" in to_python(atd.schema_of(Spoken), "spoken")


CODE = """
import sys
sys.modules["soundfile"] = None  # what importing finds where a library is not installed
from atd.errors import LocalError
from atd.shards.media import Audio
print(Audio(open(sys.argv[1], "rb").read()).decode().shape)
try:
    Audio(open(sys.argv[2], "rb").read()).decode()
except LocalError as error:
    print(error, "|", error.next_step)
"""


def test_without_the_library_wav_is_read_and_the_rest_says_what_it_needs(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(WAV)
    (tmp_path / "a.flac").write_bytes(FLAC)
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(tmp_path / "a.wav"), str(tmp_path / "a.flac")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("(2000, 2)\nthis sound needs soundfile, which is not installed")
    assert "pip install 'atd-catalog[audio]'" in done.stdout
    assert issubclass(LocalError, atd.errors.AtdError)
