#!/usr/bin/env python3
"""The page in a browser: test_page.py CALLOC FOLDER

Makes pages of the example profiles in FOLDER and has page_test.mjs drive them with Chromium and playwright-core,
which npm fetches into FOLDER, unless PLAYWRIGHT_FROM names a folder below which node finds it. Exit status 77,
with the reason, where one of these is not there.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "profile" / "tests"))

import examples  # noqa: E402

PLAYWRIGHT = "playwright-core@1.65.1"


def skip(reason):
    print(f"skipped: {reason}")
    sys.exit(77)


def playwright(folder):
    given = os.environ.get("PLAYWRIGHT_FROM")
    if given:
        return given
    if not (folder / "node_modules" / "playwright-core").is_dir():
        if not shutil.which("npm"):
            skip("there is no npm to fetch playwright-core with, and PLAYWRIGHT_FROM is not set")
        (folder / "package.json").write_text('{"private": true}\n')
        done = subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", PLAYWRIGHT], cwd=folder,
                              capture_output=True, text=True, timeout=300)
        if done.returncode:
            skip(f"npm cannot fetch {PLAYWRIGHT}:\n{done.stderr}")
    return folder


def main():
    calloc, folder = sys.argv[1], Path(sys.argv[2]).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    chromium = shutil.which("chromium") or skip("there is no chromium")
    node = shutil.which("node") or skip("there is no node")
    source = playwright(folder)
    for name in ("small", "large", "hostile"):
        profile = folder / f"{name}.caltrack"
        profile.write_bytes(getattr(examples, name)().bytes())
        subprocess.run([calloc, "report", "--html", "-o", folder / f"{name}.html", profile], check=True)
    environment = dict(os.environ, PAGES=str(folder), CHROMIUM=chromium,
                       PLAYWRIGHT_FROM=f"{Path(source).resolve()}/package.json")
    sys.exit(subprocess.run([node, "--test", HERE / "page_test.mjs"], env=environment, timeout=600).returncode)


main()
