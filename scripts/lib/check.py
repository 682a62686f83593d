# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The steps of scripts/check, and the counting of their results.
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as xml

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = ROOT / "build"
ROOM_FOR_TESTS = 4 << 30  # bytes


class Tally:
    """Test cases by outcome, and the names of those that need a word at the end."""

    def __init__(self):
        self.passed = 0
        self.failed = []
        self.skipped = []

    def step(self, name, command, env=None, show=False):
        """One check that is a command: passes when it exits 0. Its output is shown when it fails."""
        began = time.monotonic()
        run = subprocess.run(command, cwd=ROOT, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        took = time.monotonic() - began
        if run.returncode == 0:
            self.passed += 1
            print(f"  ok    {name} ({took:.0f} s)", flush=True)
            if show:
                print(run.stdout, end="")
            return True
        self.failed.append(name)
        print(f"  FAIL  {name} ({took:.0f} s)\n{run.stdout}", flush=True)
        return False

    def cases(self, name, directory):
        """Python test cases of a directory, each counted."""
        began = time.monotonic()
        run = subprocess.run([sys.executable, "-m", "unittest", "discover", "-s", directory, "-b", "-v"], cwd=ROOT, text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        results = re.findall(r"^(\w+) \([\w.]+\)(?:\n.*)? \.\.\. (ok|FAIL|ERROR|skipped)(.*)$", run.stdout, re.MULTILINE)
        failed = [f"{name}: {case}" for case, result, _ in results if result in ("FAIL", "ERROR")]
        if run.returncode != 0 and not failed:
            failed = [f"{name}: exited with {run.returncode}"]
        skipped = [(f"{name}: {case}", reason.strip(" '\"")) for case, result, reason in results if result == "skipped"]
        passed = sum(result == "ok" for _, result, _ in results)
        self.passed += passed
        self.failed += failed
        self.skipped += skipped
        print(f"  {'FAIL' if failed else 'ok  '}  {name}: {passed} passed, {len(failed)} failed, {len(skipped)} skipped "
              f"({time.monotonic() - began:.0f} s)" + (f"\n{run.stdout}" if failed else ""), flush=True)

    def suite(self, name, build, suites, env=None, jobs=None):
        """Runs meson suites of a build and counts their cases from the JUnit file."""
        began = time.monotonic()
        results = build / "meson-logs" / "testlog.junit.xml"
        results.unlink(missing_ok=True)
        command = ["meson", "test", "-C", str(build), "--no-rebuild", "--print-errorlogs"]
        if env:
            command += ["--timeout-multiplier", "4"]  # a sanitizer slows programs down
        for suite in suites:
            command += ["--suite", suite]
        if jobs:
            command += ["--num-processes", str(jobs)]
        run = subprocess.run(command, cwd=ROOT, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if not results.is_file():
            self.failed.append(f"{name}: no result")
            print(f"  FAIL  {name}: meson test left no result\n{run.stdout}", flush=True)
            return
        passed, failed, skipped = count_cases(results, name)
        failed += unfinished(build / "meson-logs" / "testlog.json", name)
        if run.returncode != 0 and not failed:
            failed = [f"{name}: meson test exited with {run.returncode}"]
        self.passed += passed
        self.failed += failed
        self.skipped += skipped
        word = "FAIL" if failed else "ok  "
        print(f"  {word}  {name}: {passed} passed, {len(failed)} failed, {len(skipped)} skipped "
              f"({time.monotonic() - began:.0f} s)", flush=True)
        if failed:
            print(what_failed(build / "meson-logs" / "testlog.json", failed), flush=True)

    def close(self):
        for name, reason in sorted(set(self.skipped)):
            print(f"skipped: {name}: {reason}")
        for name in self.failed:
            print(f"failed: {name}")
        print(f"{self.passed} passed, {len(self.failed)} failed, {len(self.skipped)} skipped", flush=True)
        return 1 if self.failed or not self.passed else 0


def count_cases(results, prefix):
    passed, failed, skipped = 0, [], []
    for case in xml.parse(results).getroot().iter("testcase"):
        name = ".".join(filter(None, (prefix, case.get("classname"), case.get("name"))))
        if case.find("failure") is not None or case.find("error") is not None:
            failed.append(name)
        elif case.find("skipped") is not None or case.get("status") == "notrun" or case.get("result") == "skipped":
            mark = case.find("skipped")
            text = (mark.get("message") or mark.text or "") if mark is not None else ""
            skipped.append((name, text.strip().splitlines()[-1] if text.strip() else "no reason given"))
        else:
            passed += 1
    return passed, failed, skipped


def unfinished(log, prefix):
    """The test programs that ended before they could write down their cases: out of time, or by a signal."""
    programs = [json.loads(line) for line in log.read_text().splitlines()]
    return [f"{prefix}: {p['name']}: {p['result'].lower()}, exit status {p['returncode']}" for p in programs
            if p["result"] in ("TIMEOUT", "ERROR", "INTERRUPT") or p["returncode"] not in (0, 1, 77)]


def what_failed(log, failed):
    """The failed cases by name, then what each printed from its beginning to its end, then how the programs that broke off ended."""
    told = [f"    {name}" for name in failed]
    for program in (json.loads(line) for line in log.read_text().splitlines()):
        if program["result"] in ("OK", "SKIP"):
            continue
        output = program.get("stdout", "") + program.get("stderr", "")
        cases = list(re.finditer(r"^\[ RUN      \] (\S+)$.*?^\[  FAILED  \] \1.*?$", output, re.MULTILINE | re.DOTALL))
        told += [shortened(case.group(0)) for case in cases]
        if program["returncode"] not in (0, 1) or not cases:
            told.append(f"{program['name']}: exit status {program['returncode']}\n{shortened(output, head=5)}")
    return "\n".join(told)


def shortened(text, head=60, tail=60):
    lines = text.splitlines()
    if len(lines) <= head + tail:
        return text
    return "\n".join([*lines[:head], f"... {len(lines) - head - tail} lines ...", *lines[-tail:]])


def build(tally, kind, *targets):
    return tally.step(f"build {kind}", ["scripts/build", kind, *targets])


def build_unit_tests(tally, kind):
    """Configures `kind` and builds only what its unit suites run."""
    if not tally.step(f"configure {kind}", ["scripts/build", kind, "build.ninja"]):
        return False
    listing = subprocess.run(["meson", "introspect", "--targets", str(BUILD / kind)], text=True, capture_output=True)
    files = [f for t in json.loads(listing.stdout) if t["name"].startswith("unit-") for f in t["filename"]]
    return build(tally, kind, *(os.path.relpath(f, BUILD / kind) for f in files))


def sanitizer_env():
    env = dict(os.environ)
    env["ASAN_OPTIONS"] = "detect_stack_use_after_return=1:strict_string_checks=1:allocator_may_return_null=1"
    env["LSAN_OPTIONS"] = f"suppressions={ROOT}/tests/lsan.supp:print_suppressions=0"
    env["UBSAN_OPTIONS"] = "print_stacktrace=1:halt_on_error=1"
    env["TSAN_OPTIONS"] = f"halt_on_error=0:second_deadlock_stack=1:suppressions={ROOT}/tests/tsan.supp"
    return env


def style(tally):
    tally.step("layering", ["scripts/layering"])
    tally.step("format", ["scripts/format", "--check"])
    tally.cases("scripts' own tests", "tests/scripts")


def check_default(tally, quick):
    style(tally)
    if build(tally, "release"):
        tally.step("every header compiles alone", ["scripts/check-headers", "build/release"])
        tally.step("the program needs nothing of the build tree", ["scripts/lib/relocated-start", "build/release"])
        tally.cases("scripts with the program", "tests/scripts/program")
        tally.suite("unit", BUILD / "release", ["unit"])
        tally.suite("qtest", BUILD / "release", ["qtest"])
        tally.suite("chaos", BUILD / "release", ["chaos"])
        tally.suite("interop", BUILD / "release", ["interop"])
        tally.suite("plugin", BUILD / "release", ["plugin"])
    if not quick and build_unit_tests(tally, "asan"):
        tally.suite("unit-asan", BUILD / "asan", ["unit"], sanitizer_env())


def check_tsan(tally):
    if build_unit_tests(tally, "tsan"):
        tally.suite("unit-tsan", BUILD / "tsan", ["unit"], sanitizer_env())


def check_chaos(tally):
    if build(tally, "release"):
        tally.suite("chaos, long form", BUILD / "release", ["chaos", "soak"],
                    {"GODWIT_SOAK_MOVES": "1000", **os.environ, "GODWIT_CHAOS": "long"})


def check_fuzz(tally):
    if not build(tally, "fuzz"):
        return
    seconds = os.environ.get("FUZZ_SECONDS", "60")
    for target in sorted((BUILD / "fuzz" / "tests" / "fuzz").glob("fuzz-*")):
        if not os.access(target, os.X_OK) or target.is_dir():
            continue
        corpus = ROOT / "tests" / "fuzz" / "corpus" / target.name.removeprefix("fuzz-")
        work = BUILD / "fuzz" / "corpus" / target.name
        work.mkdir(parents=True, exist_ok=True)
        command = [str(target), f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=2048",
                   f"-artifact_prefix={work}/", str(work)] + ([str(corpus)] if corpus.is_dir() else [])
        # A stream's lengths are lies: one allocation stays far below what they claim.
        if target.name == "fuzz-incoming":
            command += ["-max_len=400000", "-malloc_limit_mb=64"]
        tally.step(f"{target.name} for {seconds} s", command, sanitizer_env())


def check_tidy(tally):
    sources = subprocess.run(["git", "ls-files", "*.cc"], cwd=ROOT, text=True, capture_output=True).stdout.split()
    sources = [s for s in sources if not s.startswith(("tests/", "docs/"))]
    if build(tally, "debug"):
        for source in sources:
            tally.step(f"clang-tidy {source}", ["clang-tidy-19", "-p", "build/debug", "--quiet", source])


def prepare_environment():
    """Deadlines only end hangs, so they may be generous; and a disk that still writes what a build made holds nobody up."""
    os.environ.setdefault("GODWIT_TEST_PATIENCE", "3")
    memory = pathlib.Path("/dev/shm")
    if os.access(memory, os.W_OK) and shutil.disk_usage(memory).free >= ROOM_FOR_TESTS:
        os.environ.setdefault("TMPDIR", str(memory))


def main():
    prepare_environment()
    mode = sys.argv[1] if len(sys.argv) > 1 else ""
    tally = Tally()
    if mode == "--tsan":
        check_tsan(tally)
    elif mode == "--chaos":
        check_chaos(tally)
    elif mode == "--fuzz":
        check_fuzz(tally)
    elif mode == "--tidy":
        check_tidy(tally)
    else:
        check_default(tally, quick=mode == "--quick")
    return tally.close()


if __name__ == "__main__":
    sys.exit(main())
