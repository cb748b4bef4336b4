"""coverage.py: which branches of the root, arithmetic, files and layers `make test` takes.

    python tests/coverage.py [--dir build/coverage] [--least 95] [--counted]

    sources --clang, -fcoverage-mapping--> tests/run, the program --> counts of each branch --> shares, and those never taken

A branch is one outcome of one condition: true or false, also of each operand of && and ||. Every one that is never taken must have a
line in tests/coverage.txt: file, words of the line of code, why no test takes it; a line that speaks of no such branch fails, too.
files/system.c and posix.c are those whose calls can be made to fail (tests/faults.h). --counted: look again at the counts of the last run.
Exit code 1 where fewer than --least per cent are taken, or the list does not fit. Wants clang-14, llvm-cov-14, llvm-profdata-14.

Not here: whether a test notices what a branch does (tests/mutants.py)."""
import argparse
import glob
import json
import os
import shutil
import subprocess
import sys

ROOMS = {"root": "*.c", "arithmetic": "arithmetic/*.c", "files": "files/*.c", "layers": "layers/*.c"}


def count(build):
    """Builds in the folder and runs every suite there; the tests' own verdicts are make test's business."""
    shutil.rmtree(build, ignore_errors=True)
    make = ["make", "-s", "-j2", f"BUILD={build}", f"PROGRAM={build}/saeuron", "CC=clang-14", "OPT=-O1",
            "EXTRA_CFLAGS=-fprofile-instr-generate -fcoverage-mapping -mllvm -runtime-counter-relocation=true"]
    subprocess.run(make + [f"{build}/tests/faulty"], check=True)
    # One system.c and one posix.c for all programs: llvm-cov counts a function in one form only.
    subprocess.run(["ld", "-r", "-o", f"{build}/system.o", f"{build}/tests/system.o", f"{build}/tests/faults.o"], check=True)
    shutil.copy(f"{build}/tests/posix.o", f"{build}/posix.o")
    subprocess.run(make + ["-o", f"{build}/system.o", "-o", f"{build}/posix.o", f"{build}/saeuron", f"{build}/tests/run"], check=True)
    env = dict(os.environ, SAEURON_PROGRAM=f"{build}/saeuron", SAEURON_FAULTY=f"{build}/saeuron", KMP_BLOCKTIME="0",
               LLVM_PROFILE_FILE=f"{os.path.abspath(build)}/counts/%m%c.profraw")  # %c: counted as it happens, also by what is killed
    subprocess.run([f"{build}/tests/run"], env=env, stdout=open(f"{build}/tests.log", "w"), stderr=subprocess.STDOUT)
    subprocess.run(["llvm-profdata-14", "merge", "-o", f"{build}/profdata"] + glob.glob(f"{build}/counts/*"), check=True)


def branches(build, sources):
    """(file, line, column, outcome) -> how often, over all programs and instruction sets."""
    command = ["llvm-cov-14", "export", "-format=text", f"-instr-profile={build}/profdata", f"{build}/tests/run", "-object", f"{build}/saeuron"]
    exported = subprocess.run(command + sources, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    taken = {}
    for f in json.loads(exported)["data"][0]["files"]:
        path = os.path.relpath(f["filename"])
        for line, column, _, _, true, false, *_ in f["branches"]:
            for outcome, n in (("true", true), ("false", false)):
                at = path, line, column, outcome
                taken[at] = taken.get(at, 0) + n
    return taken


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--dir", default="build/coverage", help="the build (default build/coverage)")
    args.add_argument("--least", type=float, default=95, help="per cent that must be taken (default 95)")
    args.add_argument("--counted", action="store_true", help="look again at the last run's counts")
    args = args.parse_args()
    if not args.counted:
        count(args.dir)

    sources = {room: sorted(glob.glob(pattern)) for room, pattern in ROOMS.items()}
    taken = branches(args.dir, sum(sources.values(), []))
    for room, files in sources.items():
        of = [n > 0 for (path, *_), n in taken.items() if path in files]
        print(f"{room}\t{sum(of)} of {len(of)}\t{100 * sum(of) / len(of):.1f} %")
    share = 100 * sum(n > 0 for n in taken.values()) / len(taken)

    text = {path: open(path).read().splitlines() for path in sum(sources.values(), [])}
    parts = [line.partition("|") for line in open("tests/coverage.txt")]
    reasons = [(file, rest.rpartition("|")[0]) for file, _, rest in parts if file == "*" or file in text]
    used, wrong = set(), 0
    for (path, line, column, outcome), n in sorted(taken.items()):
        if n:
            continue
        code = text[path][line - 1]
        found = [i for i, (file, words) in enumerate(reasons) if file in (path, "*") and words in code]
        used.update(found)
        if not found:
            print(f"{path}:{line}: never {outcome}: {code[column - 1:].strip()}")
            wrong += 1
    for i, (file, words) in enumerate(reasons):
        if i not in used:
            print(f"tests/coverage.txt: {file}: {words}: is taken now, or gone: take it off the list")
            wrong += 1
    print(f"{len(taken)} branches, {share:.1f} % taken, {sum(not n for n in taken.values())} not; {wrong} without a reason, or a reason too many")
    return wrong > 0 or share < args.least


if __name__ == "__main__":
    sys.exit(main())
