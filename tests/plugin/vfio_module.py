#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Loads the VFIO module as it lies beside the program, and shows what is said when it cannot be loaded.

Usage: vfio_module.py PROGRAM MODULE
"""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

WRONG_ABI = ("struct { unsigned magic, abi; const char *n, *d, *b; void *l; } godwit_plugin ="
             " { 0x47575047, 99, \"vfio\", \"\", \"\", 0 };")
BASE = ["-nodefaults", "-display", "none", "-accel", "qtest", "-machine", "q35"]


def tell(program, *argv, modules=None):
    """Exit status and both outputs of a start that ends by itself."""
    env = dict(os.environ)
    env.pop("GODWIT_MODULE_DIR", None)
    if modules:
        env["GODWIT_MODULE_DIR"] = str(modules)
    run = subprocess.run([program, *argv], capture_output=True, text=True, timeout=60, env=env)
    return run.returncode, run.stdout + run.stderr


def check(what, holds, seen=""):
    print(f"{'ok' if holds else 'FAILED'}: {what}" + ("" if holds else f"\n  {seen}"))
    return holds


def without_module(program, module, work):
    """Module folders in which something is missing or wrong."""
    good = True
    device = BASE + ["-device", "vfio-pci,host=0000:00:00.0"]
    folder = pathlib.Path(work)
    code, text = tell(program, *device, modules=folder)
    good &= check("without the module the type is unknown, by name",
                  code == 1 and "'vfio-pci' is not a valid device model name" in text, text)

    shutil.copy(module.with_suffix(".types"), folder)
    code, text = tell(program, *device, modules=folder)
    good &= check("a module that its manifest promises but that is not there is named",
                  code == 1 and str(folder / "vfio.so") in text, text)

    (folder / "vfio.so").write_bytes(module.read_bytes()[:4096])
    code, text = tell(program, *device, modules=folder)
    good &= check("a module that was cut off is named", code == 1 and str(folder / "vfio.so") in text, text)

    subprocess.run(["cc", "-shared", "-fPIC", "-x", "c", "-o", folder / "vfio.so", "-"], input=WRONG_ABI,
                   text=True, check=True, timeout=60)
    for argv in (device, BASE + ["-object", "iommufd,id=i0"]):
        code, text = tell(program, *argv, modules=folder)
        good &= check(f"a module of another ABI is refused ({argv[-2]})",
                      code == 1 and "was built for plugin ABI 00000063" in text and "vfio.so" in text, text)
    return good


def main():
    program, module = sys.argv[1], pathlib.Path(sys.argv[2])
    good = True
    for driver, option in (("vfio-pci", "host=<str>"), ("vfio-user-pci", "socket=<str>")):
        code, text = tell(program, "-device", driver + ",help")
        good &= check(f"{driver} is found beside the program", code == 0 and option in text, text)
    code, text = tell(program, *BASE, "-device", "vfio-pci,host=ffff:ff:1f.7")
    good &= check("a device that is not there is one error that names it",
                  code == 1 and "ffff:ff:1f.7: no iommu_group found" in text, text)
    code, text = tell(program, *BASE, "-device", "vfio-user-pci,socket=/nonexistent/socket")
    good &= check("a server that is not there is one error that names it",
                  code == 1 and "/nonexistent/socket" in text, text)
    with tempfile.TemporaryDirectory(prefix="gw-vfio-") as work:
        good &= without_module(program, module, work)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
