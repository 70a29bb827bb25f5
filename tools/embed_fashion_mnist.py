#!/usr/bin/env python3
"""Write the slice of Fashion-MNIST that entk-data embeds.

usage: embed_fashion_mnist.py SOURCE_DIR [OUT_DIR]

SOURCE_DIR holds the four published IDX.gz files. On Debian and Ubuntu they come with

    apt-get install dataset-fashion-mnist

and lie in /usr/share/datasets/fashion-mnist. OUT_DIR is by default crates/entk-data/data of
this repository.

Selection rule: from each published split the first N/10 images of each of the ten classes, kept
in the order of the published file (6,000 training and 2,000 test images). No random numbers are
drawn, and gzip headers carry neither a time nor a name, so that the same Python and zlib write
the same bytes again; the SHA-256 of the uncompressed output is printed and stands in OUT_DIR's
README.md, which this script also writes.

Only the standard library is used.
"""
import gzip
import hashlib
import io
import pathlib
import struct
import sys

CLASSES = 10
SIDE = 28
COUNTS = {"train": 6_000, "t10k": 2_000}
SIZE_LIMIT = 4 * 1024 * 1024
# SHA-256 of the uncompressed published files.
SOURCES = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
README = """\
# Embedded slice of Fashion-MNIST

Real images of Fashion-MNIST (Zalando SE, MIT licence: see `LICENSE`), in the layout of the
published files: IDX, compressed with gzip.

| file | content | SHA-256 of the uncompressed file |
|---|---|---|
{rows}
Selection rule: from the published training split the first {train_per_class} images of each of the ten classes,
from the published test split the first {test_per_class} of each, both in the order of the published file. Pixels
and labels are unchanged.

Written by `tools/embed_fashion_mnist.py` from the Debian package `dataset-fashion-mnist`; run it
again to get the same bytes.
"""


def read_source(folder: pathlib.Path, name: str) -> bytes:
    """The uncompressed content of one published file, its checksum verified."""
    content = gzip.decompress((folder / f"{name}.gz").read_bytes())
    found = hashlib.sha256(content).hexdigest()
    if found != SOURCES[name]:
        sys.exit(f"{name}.gz: SHA-256 is {found}, expected {SOURCES[name]}: not the published file")
    return content


def first_of_each_class(labels: bytes, total: int) -> list[int]:
    """Indices, ascending, of the first total / CLASSES members of each class."""
    room = [total // CLASSES] * CLASSES
    chosen = []
    for index, label in enumerate(labels):
        if room[label] > 0:
            room[label] -= 1
            chosen.append(index)
    if any(room):
        sys.exit(f"a class has too few images for {total}: {room} missing")
    return chosen


def select(folder: pathlib.Path, split: str) -> dict[str, bytes]:
    """The two IDX files of one split of the slice, uncompressed, by name."""
    image_name, label_name = f"{split}-images-idx3-ubyte", f"{split}-labels-idx1-ubyte"
    pixels = read_source(folder, image_name)[16:]
    labels = read_source(folder, label_name)[8:]
    chosen = first_of_each_class(labels, COUNTS[split])
    size = SIDE * SIDE
    picked = b"".join(pixels[i * size : (i + 1) * size] for i in chosen)
    return {
        image_name: struct.pack(">4I", 0x803, len(chosen), SIDE, SIDE) + picked,
        label_name: struct.pack(">2I", 0x801, len(chosen)) + bytes(labels[i] for i in chosen),
    }


def compress(content: bytes) -> bytes:
    """gzip without time and name in the header."""
    out = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=out, mtime=0) as stream:
        stream.write(content)
    return out.getvalue()


def main() -> None:
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    source = pathlib.Path(sys.argv[1])
    repository = pathlib.Path(__file__).resolve().parent.parent
    default = repository / "crates" / "entk-data" / "data"
    out = pathlib.Path(sys.argv[2]) if len(sys.argv) == 3 else default
    out.mkdir(parents=True, exist_ok=True)
    rows, total = "", 0
    for split, count in COUNTS.items():
        for name, content in select(source, split).items():
            packed = compress(content)
            total += len(packed)
            (out / f"{name}.gz").write_bytes(packed)
            kind = f"{count:,} images, {SIDE} x {SIDE}" if "images" in name else f"{count:,} labels"
            rows += f"| `{name}.gz` | {kind} | `{hashlib.sha256(content).hexdigest()}` |\n"
    if total > SIZE_LIMIT:
        sys.exit(f"{total} bytes written, more than the {SIZE_LIMIT} that the crate may carry")
    per_class = {f"{key}_per_class": COUNTS[s] // CLASSES for key, s in (("train", "train"), ("test", "t10k"))}
    (out / "README.md").write_text(README.format(rows=rows, **per_class), encoding="utf-8")
    print(f"{total} bytes in {out}")


if __name__ == "__main__":
    main()
