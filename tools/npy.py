"""A .npy file of numbers, without numpy: shape, type and values come in, a file goes out. Imported
by random_npy.py and book/check.py."""
import struct

LETTERS = {"<f4": "f", "<i8": "q"}


def write(path, shape, kind, values):
    """Writes `values`, row by row, as an array of type `kind`: "<f4" or "<i8"."""
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {tuple(shape)}, }}"
    # Magic, version and length are 10 bytes; with them the header is a multiple of 64.
    header += " " * (-(10 + len(header) + 1) % 64) + "\n"
    with open(path, "wb") as file:
        file.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode())
        file.write(struct.pack(f"<{len(values)}{LETTERS[kind]}", *values))
