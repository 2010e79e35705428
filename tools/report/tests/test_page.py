#!/usr/bin/env python3
"""The page in a browser: test_page.py CALLOC FOLDER

Makes pages of the example profiles in FOLDER and has page_test.mjs drive them with Chromium and playwright-core,
which npm fetches into FOLDER, unless PLAYWRIGHT_FROM names a folder below which node finds it. Exit status 77,
with the reason, where one of these is not there.
"""

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "profile" / "tests"))

import browser  # noqa: E402
import examples  # noqa: E402


def main():
    calloc, folder = sys.argv[1], Path(sys.argv[2]).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    environment = browser.find(folder)
    if isinstance(environment, str):
        print(f"skipped: {environment}")
        sys.exit(77)
    for name in ("small", "large", "hostile", "sampled"):
        profile = folder / f"{name}.caltrack"
        profile.write_bytes(getattr(examples, name)().bytes())
        subprocess.run([calloc, "report", "--html", "-o", folder / f"{name}.html", profile], check=True)
    sys.exit(subprocess.run([browser.NODE, "--test", HERE / "page_test.mjs"], timeout=600,
                            env=dict(os.environ, PAGES=str(folder), **environment)).returncode)


main()
