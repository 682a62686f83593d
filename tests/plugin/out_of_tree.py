#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Builds the example plugin against an installation, without the source tree, and loads it.

Usage: out_of_tree.py BUILD_DIR EXAMPLE_DIR PROGRAM
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile

# A module with another ABI number, one with another mark, and one that is no plugin at all.
BROKEN = {
    "abi": ("struct { unsigned magic, abi; const char *n, *d, *b; void *l; } godwit_plugin ="
            " { 0x47575047, 99, \"x\", \"\", \"\", 0 };", "was built for plugin ABI 00000063"),
    "mark": ("struct { unsigned magic, abi; const char *n, *d, *b; void *l; } godwit_plugin ="
             " { 1, 1, \"x\", \"\", \"\", 0 };", "is not a Godwit plugin"),
    "none": ("int nothing;", "is not a Godwit plugin"),
}


def run(argv, **kwargs):
    return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=240, **kwargs)


def find(root, name):
    for folder, _, files in os.walk(root):
        if name in files:
            return os.path.join(folder, name)
    raise SystemExit(f"{name} was not installed")


def build_example(build_dir, example, work):
    """Installs into a root of our own and builds a copy of the example there."""
    root = os.path.join(work, "root")
    run(["meson", "install", "-C", build_dir, "--no-rebuild", "--tags", "devel", "--destdir",
         root])
    source = os.path.join(work, "example")
    shutil.copytree(example, source)
    env = dict(os.environ, PKG_CONFIG_SYSROOT_DIR=root,
               PKG_CONFIG_PATH=os.path.dirname(find(root, "godwit-plugin.pc")))
    output = os.path.join(work, "plugin-build")
    run(["meson", "setup", output, source], env=env)
    run(["ninja", "-C", output], env=env)
    return os.path.join(output, "pulse-counter.so")


class Qmp:
    """The program with QMP on its standard streams."""

    def __init__(self, argv):
        self.process = subprocess.Popen(argv + ["-qmp", "stdio"], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, bufsize=1)
        self.process.stdout.readline()
        self.command("qmp_capabilities")

    def command(self, name, **arguments):
        print(json.dumps({"execute": name, "arguments": arguments}), file=self.process.stdin,
              flush=True)
        while True:
            reply = json.loads(self.process.stdout.readline())
            if "event" not in reply:
                return reply

    def quit(self):
        self.command("quit")
        return self.process.wait(timeout=60)


def check(what, holds):
    print(("ok" if holds else "not ok"), "-", what)
    return holds


def main():
    build_dir, example, program = sys.argv[1:]
    base = [program, "-nodefaults", "-display", "none", "-accel", "qtest"]
    good = True
    with tempfile.TemporaryDirectory(prefix="gw-plugin-") as work:
        plugin = build_example(build_dir, example, work)

        listed = run([program, "-plugin", plugin, "-device", "pulse-counter,help"]).stdout
        good &= check("its properties are listed", "port=<" in listed)

        qmp = Qmp(base + ["-machine", "microvm", "-plugin", plugin, "-device", "pulse-counter,id=p0"])
        reply = qmp.command("qom-get", path="/machine/peripheral/p0", property="type")
        good &= check("its device is in the tree", reply.get("return") == "pulse-counter")
        good &= check("the program ends in good order", qmp.quit() == 0)

        shutil.copy(os.path.join(example, "pulse-counter.types"), os.path.dirname(plugin))
        env = dict(os.environ, GODWIT_MODULE_DIR=os.path.dirname(plugin))
        found = run([program, "-device", "pulse-counter,help"], env=env).stdout
        good &= check("a module is found by its manifest", "port=<" in found)

        for name, (source, text) in BROKEN.items():
            path = os.path.join(work, name + ".so")
            run(["cc", "-shared", "-fPIC", "-x", "c", "-o", path, "-"], input=source)
            refused = subprocess.run(base + ["-machine", "none", "-plugin", path], text=True,
                                     capture_output=True, timeout=60)
            good &= check(f"a broken module ({name}) is refused by name",
                          refused.returncode == 1 and text in refused.stderr
                          and path in refused.stderr)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
