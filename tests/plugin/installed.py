#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Installs into a folder of our own and looks at it as a distribution and a newcomer would.

Usage: installed.py BUILD_DIR
"""
import glob
import os
import re
import subprocess
import sys
import tempfile

# One pattern a thing, below the root of the installation.
EXPECTED = [
    "**/bin/godwit-system-x86_64",
    "**/share/man/man1/godwit-system-x86_64.1*",
    "**/share/bash-completion/completions/godwit-system-x86_64",
    "**/share/doc/godwit/user/command-line.md",
    "**/share/doc/godwit/reference/qmp.md",
    "**/include/godwit/system/vm.h",
    "**/include/godwit/qapi/run_state_types.h",
    "**/pkgconfig/godwit-plugin.pc",
]


def run(argv, **kwargs):
    return subprocess.run(argv, capture_output=True, text=True, timeout=120, **kwargs)


def expect(good, what):
    if not good:
        raise SystemExit(f"installed: {what}")


def check_layout(root):
    for pattern in EXPECTED:
        expect(glob.glob(os.path.join(root, pattern), recursive=True), f"nothing at {pattern}")
    for folder, _, files in os.walk(os.path.join(root)):
        for name in files:
            text = open(os.path.join(folder, name), "rb").read(1 << 20)
            expect(name.endswith((".so", "x86_64")) or b"/build/" not in text,
                   f"{folder}/{name} names a build folder")


def check_man_page(program, page):
    """Every option that -h shows has its place in the man page."""
    text = open(page).read().replace("\\-", "-")
    options = re.findall(r"^-([A-Za-z][\w-]*)", run([program, "-h"]).stdout, re.MULTILINE)
    expect(len(options) > 30, "-h lists no options")
    missing = [name for name in options if not re.search(rf"-{re.escape(name)}(?![\w-])", text)]
    expect(not missing, f"not in the man page: {missing}")


def check_completion(program, script):
    def complete(previous, current):
        ask = (f"source {script}; _godwit_system {program} '{current}' '{previous}'; "
               'printf "%s\\n" "${COMPREPLY[@]}"')
        return run(["bash", "-c", ask]).stdout.split()
    expect("-machine" in complete("", "-mach"), "no completion of options")
    expect({"none", "microvm"} <= set(complete("-machine", "")), "no completion of machines")
    expect("synth" in complete("-accel", "s"), "no completion of accelerators")
    expect("isa-serial" in complete("-device", "isa"), "no completion of devices")


def check_plugins(program, root):
    """Each module that is installed can be loaded by the installed program."""
    for module in glob.glob(os.path.join(root, "**/lib*/**/godwit/*.so"), recursive=True):
        loaded = run([program, "-plugin", module, "-device", "help"])
        expect(loaded.returncode == 0 and not loaded.stderr, f"{module}: {loaded.stderr}")


def main():
    with tempfile.TemporaryDirectory(prefix="godwit-installed-") as root:
        done = run(["meson", "install", "-C", sys.argv[1], "--no-rebuild", "--destdir", root])
        expect(done.returncode == 0, done.stdout + done.stderr)
        check_layout(root)
        program = glob.glob(os.path.join(root, "**/bin/godwit-system-x86_64"), recursive=True)[0]
        version = run([program, "--version"], cwd="/")
        expect(version.returncode == 0 and "Godwit" in version.stdout, "the program does not start")
        check_man_page(program, glob.glob(os.path.join(root, "**/*.1"), recursive=True)[0])
        check_completion(program, glob.glob(
            os.path.join(root, "**/completions/godwit-system-x86_64"), recursive=True)[0])
        check_plugins(program, root)


if __name__ == "__main__":
    main()
