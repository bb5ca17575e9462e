"""Flips one bit in each stored file of a folder: the top exponent bit of a float in the middle of the file."""

import sys
from pathlib import Path

for path in Path(sys.argv[1]).rglob("*.data"):
    with path.open("r+b") as file:
        place = path.stat().st_size // 2 // 4 * 4 + 3  # the high byte of a float32, and of a bfloat16
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 0x40]))
