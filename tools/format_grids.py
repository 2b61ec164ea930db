#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes src/kern/format_grid.inc, the points that the IQ formats' indices stand for.

    pip install gguf==0.19.0 && tools/format_grids.py

The points are part of the formats and were chosen by their author from how often they occurred
in models, so there is no rule that gives them; PyPI `gguf` (quants.py) publishes them.  Here a
point of eight elements is 16 bits, 2 for each from the lowest on: which of the format's three
magnitudes; a point of four elements is 12 bits, 3 for each.
"""
import os

import numpy as np
from gguf import quants

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "src", "kern",
                   "format_grid.inc")
HEAD = """/* SPDX-License-Identifier: MIT
 * format_grid.inc - the points of the IQ formats.  Made by tools/format_grids.py from PyPI `gguf`
 * {version}; it says what the numbers mean. */
"""


def points(cls):
    cls.init_grid()
    values = np.asarray(cls.grid_map, np.float32)
    grid = cls.grid.reshape(cls.grid_shape)
    index = np.searchsorted(values, grid)
    assert (values[index] == grid).all()
    bits = 2 if grid.shape[1] == 8 else 3
    return (index << (bits * np.arange(grid.shape[1]))).sum(axis=1)


def main():
    from importlib.metadata import version
    out = HEAD.format(version=version("gguf"))
    for cls in [quants.IQ2_XXS, quants.IQ2_XS, quants.IQ2_S, quants.IQ3_XXS, quants.IQ3_S,
                quants.IQ1_S]:
        p = points(cls)
        out += f"static const uint16_t grid_{cls.qtype.name}[{len(p)}] = {{\n"
        line = "   "
        for v in p:
            word = f" {v},"
            if len(line + word) > 99:
                out += line + "\n"
                line = "   "
            line += word
        out += line + "\n};\n"
    with open(OUT, "w") as f:
        f.write(out)


if __name__ == "__main__":
    main()
