"""Targets of `atd.shards`: everything that may lie in a shard, and the shard itself."""

from __future__ import annotations

import hashlib
import io
import tarfile
import tempfile
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import soundfile
from PIL import Image as Pillow

from atd.errors import ShardError
from atd.records import Layout
from atd.schema import fields
from atd.schema.fields import Field, Schema
from atd.shards import arrays, documents, soundness, tar
from atd.shards import infer as inference
from atd.shards.index import MemberIndex
from atd.shards.layout import default_layout
from atd.shards.media import Audio, Image
from atd.shards.reader import ShardFile
from atd.shards.unfit import Undecodable, Unfit
from atd.shards.writer import ShardWriter
from shards.twins import agree, must_name
from support import memory_folder

SCHEMAS = (
    Schema(
        (
            Field("x", fields.Array("float32", (2, 3))),
            Field("ragged", fields.Array("uint16", (None,))),
            Field("label", fields.Label("a", "b", "c")),
            Field("n", fields.Int(16)),
            Field("f", fields.Float(32)),
            Field("yes", fields.Bool()),
            Field("box", fields.Box()),
            Field("text", fields.Text()),
            Field("maybe", fields.String(), nullable=True),
        )
    ),
    Schema(
        (
            Field("any", fields.Array("bool")),
            Field("when", fields.Timestamp(), optional=True),
            Field("doc", fields.Json(), nullable=True),
            Field("image", fields.Image()),
            Field("raw", fields.Bytes(), optional=True, nullable=True),
            Field("large", fields.Int(64, False)),
            Field("items", fields.List(fields.Struct((Field("q", fields.Float()),)))),
        )
    ),
)
PICTURE = io.BytesIO()
Pillow.new("RGB", (2, 2), (1, 2, 3)).save(PICTURE, "PNG")
SAMPLES: tuple[dict[str, Any], ...] = (
    {
        "x": np.arange(6, dtype="f4").reshape(2, 3), "ragged": np.arange(4, dtype="u2"),
        "label": 2, "n": -700, "f": 0.5, "yes": True, "box": (0, 1, 2, 3), "text": "trä",
        "maybe": None,
    },
    {
        "any": np.array([[True, False]]), "when": "2024-01-01T00:00:00Z",
        "doc": {"a": [1, None, "x"]}, "image": PICTURE.getvalue(), "raw": b"ab",
        "large": 2**63, "items": [{"q": 1.0}, {"q": -2.0}],
    },
)  # fmt: skip
MEMBERS = tuple(default_layout(schema, "members") for schema in SCHEMAS)


@cache
def place() -> Path:
    """A file to put shards in, in memory where there is such a folder."""
    return Path(tempfile.mkdtemp(prefix="atd-fuzz-", dir=memory_folder())) / "s.tar"


def opened(
    data: bytes, schema: Schema, layout: Layout, index: MemberIndex | None = None
) -> ShardFile | None:
    """The shard that ``data`` is; None where it is refused."""
    place().unlink(missing_ok=True)  # a mapped file is never written to
    place().write_bytes(data)
    try:
        return ShardFile(place(), schema, layout, index=index)
    except ShardError as error:
        must_name(error, "s.tar: ")
        return None


def read_all(shard: ShardFile) -> None:
    """Every sample fits or is refused, by every way of reading alike."""
    agree(shard)


def archive_of(*files: tuple[str, bytes]) -> bytes:
    out = io.BytesIO()
    writer = tar.TarWriter(out)
    for name, payload in files:
        writer.add(name, payload)
    writer.finish()
    return out.getvalue()


def cut_up(data: bytes, most: int) -> list[bytes]:
    """Pieces of ``data``, each after two bytes that say how long it is."""
    pieces = []
    while len(data) >= 2 and len(pieces) < most:
        size = int.from_bytes(data[:2], "little")
        pieces.append(data[2 : 2 + size])
        data = data[2 + size :]
    return pieces


def joined(pieces: Iterable[bytes]) -> bytes:
    """What `cut_up` cuts into ``pieces``."""
    return b"".join(len(piece).to_bytes(2, "little") + piece for piece in pieces)


# ------------------------------------------------------------------ values


def array(data: bytes) -> None:
    """An array is as large as its bytes; numpy reads the same out of a ``.npy`` file."""
    view = memoryview(data)
    try:
        found = arrays.read_array(view)
    except Unfit:
        return
    assert not found.flags.writeable
    assert found.nbytes <= len(data)
    if data.startswith(b"\x93NUMPY"):
        theirs = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
        assert theirs.dtype == found.dtype
        assert theirs.shape == found.shape
        assert theirs.tobytes() == found.tobytes()


def array_seeds() -> Iterable[bytes]:
    for made in (np.arange(6, dtype="<f4").reshape(2, 3), np.array(True), np.zeros((0, 3), ">i2")):
        yield arrays.to_compact(made)
        yield arrays.to_npy(made)
    out = io.BytesIO()
    np.save(out, np.asfortranarray(np.arange(6, dtype="u1").reshape(2, 3)))
    yield out.getvalue()


def json_text(data: bytes) -> None:
    """What is read is the same when it is written and read again."""
    try:
        value = documents.parse_json(data.decode("utf-8", "replace"))
    except Unfit:
        return
    text = documents.json_text(value)
    assert text.encode().decode() == text
    assert documents.parse_json(text) == value


def json_seeds() -> Iterable[bytes]:
    yield b'{"a": [1, -0.5, 1e3, true, false, null, "\\u00e4\\ud83d\\ude00"], "b": {"c": []}}'
    yield b"[[[[[[[[[[]]]]]]]]]]"


def picture(data: bytes) -> None:
    """A picture decodes, or is refused as one."""
    image = Image(data, "s.tar: sample k: field image")
    for ask in (lambda: image.size, image.decode):
        try:
            ask()
        except ShardError as error:
            must_name(error, "s.tar: sample k: field image: ")


def picture_seeds() -> Iterable[bytes]:
    for form in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"):
        out = io.BytesIO()
        Pillow.new("RGB", (3, 2), (9, 8, 7)).save(out, form)
        yield out.getvalue()


def whole_picture(data: bytes) -> None:
    """The file of a picture is whole, is not, or is for a decoder to say; within a moment."""
    try:
        whole = soundness.check(data)
    except Undecodable:
        return
    if whole:  # and so it is whatever follows it
        assert soundness.check(data + b"\xff\xd8 and more")


def whole_picture_seeds() -> Iterable[bytes]:
    noise = np.random.default_rng(1).integers(0, 255, (16, 24, 3), dtype=np.uint8)
    for form, said in (
        ("PNG", {}),
        ("JPEG", {}),
        ("JPEG", {"progressive": True, "comment": b"\xff\xd9"}),
        ("JPEG", {"restart_marker_blocks": 1}),
        ("GIF", {"save_all": True, "append_images": [Pillow.new("RGB", (24, 16))]}),
        ("WEBP", {"exif": b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0"}),
        ("WEBP", {"lossless": True}),
    ):
        out = io.BytesIO()
        Pillow.fromarray(noise).save(out, form, **said)
        yield out.getvalue()


def sound(data: bytes) -> None:
    """A sound decodes, or is refused as one."""
    audio = Audio(data, "s.tar: sample k: field sound")
    for ask in (lambda: audio.frames, audio.decode):
        try:
            ask()
        except ShardError as error:
            must_name(error, "s.tar: sample k: field sound: ")


def sound_seeds() -> Iterable[bytes]:
    for form in ("WAV", "WAVEX", "FLAC", "OGG"):
        out = io.BytesIO()
        soundfile.write(out, np.zeros((40, 2), np.float32), 8000, format=form)
        yield out.getvalue()


# ------------------------------------------------------------------ samples


def sample(data: bytes) -> None:
    """Payloads as a packed shard: columns and the strict reader agree about each."""
    schema = SCHEMAS[data[0] % len(SCHEMAS)] if data else SCHEMAS[0]
    payloads = cut_up(data[1:], 4)
    whole = archive_of(*((f"s{at}.msgpack", piece) for at, piece in enumerate(payloads)))
    shard = opened(whole, schema, default_layout(schema))
    assert shard is not None
    read_all(shard)


def sample_seeds() -> Iterable[bytes]:
    for at, payloads in enumerate(packed_payloads()):
        yield bytes([at]) + joined(payloads)
        value = msgpack.unpackb(payloads[0])
        turned = msgpack.packb(dict(reversed(value.items())))
        yield bytes([at]) + joined([payloads[0], turned])


@cache
def packed_payloads() -> tuple[tuple[bytes, ...], ...]:
    """Payloads of our own writer, for each schema."""
    return tuple(
        tuple(bytes(shard_of(schema, one).members(at)["msgpack"]) for at in range(2))
        for schema, one in zip(SCHEMAS, SAMPLES, strict=True)
    )


def shard_of(schema: Schema, value: dict[str, Any], layout: Layout | None = None) -> ShardFile:
    place().unlink(missing_ok=True)
    layout = layout or default_layout(schema)
    with ShardWriter(place(), schema, layout) as writer:
        for at in range(2):
            writer.add(f"s{at}", value)
    return ShardFile(place(), schema, layout)


def members(data: bytes) -> None:
    """Payloads as the members of one sample."""
    which = data[0] % len(SCHEMAS) if data else 0
    suffixes = sorted(set(MEMBERS[which].members.values()))
    payloads = zip(suffixes, cut_up(data[1:], len(suffixes)), strict=False)
    whole = archive_of(*((f"s.{suffix}", piece) for suffix, piece in payloads))
    shard = opened(whole, SCHEMAS[which], MEMBERS[which])
    assert shard is not None
    read_all(shard)


def members_seeds() -> Iterable[bytes]:
    for at, (schema, layout) in enumerate(zip(SCHEMAS, MEMBERS, strict=True)):
        found = shard_of(schema, SAMPLES[at], layout).members(0)
        yield bytes([at]) + joined(bytes(found[suffix]) for suffix in sorted(found))


# ------------------------------------------------------------------ archives


def mended(data: bytes) -> bytes:
    """``data`` with the right checksum in whatever looks like a header."""
    out = bytearray(data)
    for at in range(0, len(out) - 511, 512):
        if out[at + 257 : at + 262] == b"ustar":
            total = sum(out[at : at + 148]) + sum(out[at + 156 : at + 512]) + 256
            out[at + 148 : at + 156] = b"%06o\0 " % total
    return bytes(out)


def archive(data: bytes) -> None:
    """Both ways of scanning agree, Python's own finds the same files, and samples are read."""
    whole = mended(data)
    view = memoryview(whole)
    try:
        found = tar.scan(view, "s.tar")
    except ShardError as error:
        must_name(error, "s.tar: ")
        return
    walked = tar._Walk(view, "s.tar").members()
    assert walked.names == found.names
    assert walked.offsets.tolist() == found.offsets.tolist()
    assert walked.sizes.tolist() == found.sizes.tolist()
    assert ((found.offsets >= 0) & (found.offsets + found.sizes <= len(whole))).all()
    _as_python_sees_it(whole, found)
    for schema, layout in zip(SCHEMAS, MEMBERS, strict=True):
        for one in (default_layout(schema), layout):
            shard = opened(whole, schema, one)
            if shard is not None:
                read_all(shard)


def _as_python_sees_it(whole: bytes, found: tar.Members) -> None:
    """Python reads fields that we leave alone, and may stop at them; what it finds is the same."""
    try:
        with tarfile.open(fileobj=io.BytesIO(whole), mode="r:") as theirs:
            files = [one for one in theirs if one.isfile()]
    except (tarfile.TarError, OverflowError, ValueError):
        return
    ours = list(zip(found.offsets.tolist(), found.sizes.tolist(), strict=True))
    assert [(one.offset_data, one.size) for one in files] == ours[: len(files)]


def archive_seeds() -> Iterable[bytes]:
    for schema, layout, value in zip(SCHEMAS, MEMBERS, SAMPLES, strict=True):
        for one in (default_layout(schema), layout):
            yield shard_of(schema, value, one).path.read_bytes()
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=form) as file:
            info = tarfile.TarInfo("folder")
            info.type = tarfile.DIRTYPE
            file.addfile(info)
            info = tarfile.TarInfo(f"{'long' * 10}/{'name' * 20}.txt")
            info.size, info.mtime = 5, 1.5  # type: ignore[assignment]
            file.addfile(info, io.BytesIO(b"hello"))
        yield out.getvalue()


def sidecar(data: bytes) -> None:
    """Whatever an index says of a shard, it is refused or leads to samples and refusals."""
    body = data[48:]
    sealed = data[:16] + hashlib.sha256(body).digest() + body
    whole, _ = _indexed()
    try:
        found = MemberIndex.from_bytes(sealed, len(whole), "s.tar")
    except ShardError:
        return
    shard = opened(whole, SCHEMAS[0], default_layout(SCHEMAS[0]), found)
    if shard is not None:
        read_all(shard)


@cache
def _indexed() -> tuple[bytes, bytes]:
    shard = shard_of(SCHEMAS[0], SAMPLES[0])
    return shard.path.read_bytes(), shard.index.to_bytes()


def sidecar_seeds() -> Sequence[bytes]:
    return [_indexed()[1]]


def infer(data: bytes) -> None:
    """A shard without a schema: what it is taken for can be read, or says why not."""
    payloads = cut_up(data[1:], 4)
    suffixes = ("msgpack", "json", "npy", "cls", "txt", "jpg", "wav", "x.y", "class")
    first = data[0] if data else 0
    if first % 2:
        files = [(f"s{at}.msgpack", piece) for at, piece in enumerate(payloads)]
    else:
        files = [
            (f"s{at // 2}.{suffixes[(first // 2 + at) % len(suffixes)]}", piece)
            for at, piece in enumerate(payloads)
        ]
    place().unlink(missing_ok=True)
    place().write_bytes(archive_of(*files))
    try:
        found = inference.infer_shards([place()])
        shard = ShardFile(place(), found.schema, found.layout)
    except ShardError:
        return
    read_all(shard)


def infer_seeds() -> Iterable[bytes]:
    for payloads in packed_payloads():
        yield b"\1" + joined(payloads)
    yield b"\2" + joined([b'{"a": 1}', arrays.to_npy(np.zeros(3)), b"1", b"text"])
