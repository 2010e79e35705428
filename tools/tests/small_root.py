"""A folder with a C library, a few programs and our libraries: a system to change root into."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

PROGRAMS = ["/bin/true", "/bin/sh", "/bin/cat"]


def as_root():
    """Go on as root: of a user namespace, where we are not. Changing root needs it."""
    if os.geteuid() == 0:
        return
    if os.environ.get("SMALL_ROOT_TRIED") or shutil.which("unshare") is None:
        print("skipped: this is neither root, nor may it make a user namespace")
        sys.exit(77)
    os.environ["SMALL_ROOT_TRIED"] = "1"
    os.execvp("unshare", ["unshare", "--map-root-user", sys.executable, *sys.argv])


def copy_program(root, program):
    """The program at its path, and all that ldd names at theirs."""
    listed = subprocess.run(["ldd", program], check=True, stdout=subprocess.PIPE, text=True).stdout
    for path in {program, *re.findall(r"(/\S+) \(0x", listed)}:
        target = root / path[1:]
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(os.path.realpath(path), target)


def make(folder, library_folder, libraries):
    """The root; its libraries lie in LIBRARY_FOLDER, as after an installation."""
    root = Path(folder)
    for program in PROGRAMS:
        copy_program(root, program)
    (root / "etc").mkdir()
    (root / "dev").mkdir()
    # Not the device, but as empty.
    (root / "dev/null").touch()
    target = root / library_folder.lstrip("/")
    target.mkdir(parents=True)
    for library in libraries:
        real = Path(os.path.realpath(library))
        shutil.copy(real, target / real.name)
        soname = re.search(r"^.*\.so\.\d+", real.name)[0]
        (target / soname).symlink_to(real.name)
    for path in [root, *root.rglob("*")]:
        if path.is_dir():
            path.chmod(0o755)
    return root


def run(root, *command, **environment):
    """A program below the root: status, and what it wrote to standard error."""
    result = subprocess.run(["chroot", str(root), *command], stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", **environment})
    return result.returncode, result.stderr
