#!/usr/bin/env python3
"""Write the example profiles: make_examples.py FOLDER [NAME…]"""

import sys
from pathlib import Path

import examples

folder = Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
for name in sys.argv[2:] or ("small", "grown", "large", "hostile"):
    (folder / f"{name}.caltrack").write_bytes(getattr(examples, name)().bytes())
