"""Chromium and what drives it, for tests of pages."""

import os
import shutil
import subprocess
from pathlib import Path

PLAYWRIGHT = "playwright-core@1.65.1"
NODE = shutil.which("node")


def find(folder):
    """The environment for a script that drives it: CHROMIUM, and PLAYWRIGHT_FROM, from where node finds playwright-core,
    which npm fetches into FOLDER unless that is set already. Else the reason why there is none."""
    chromium = shutil.which("chromium")
    if not chromium:
        return "there is no chromium"
    if not NODE:
        return "there is no node"
    source = Path(os.environ.get("PLAYWRIGHT_FROM") or folder).resolve()
    if not os.environ.get("PLAYWRIGHT_FROM") and not (source / "node_modules" / "playwright-core").is_dir():
        if not shutil.which("npm"):
            return "there is no npm to fetch playwright-core with, and PLAYWRIGHT_FROM is not set"
        (source / "package.json").write_text('{"private": true}\n')
        done = subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", PLAYWRIGHT], cwd=source,
                              capture_output=True, text=True, timeout=300, check=False)
        if done.returncode:
            return f"npm cannot fetch {PLAYWRIGHT}:\n{done.stderr}"
    return {"CHROMIUM": chromium, "PLAYWRIGHT_FROM": f"{source}/package.json"}
