"""mutants.py: breaks the program at one place after another, and says which breaks `make test` notices.

    python tests/mutants.py [--count 300] [--seed 1] [--jobs 2] [--least 92] [--dir build/mutants]

    sources --a rule at a place--> one changed file --make--> suites of tests/run, its own first --> caught or not

A place is an operator, a bound, a constant or a sign in a .c file of the program. Places are drawn by --seed among all of them.
One that does not compile, or whose object files are the same bytes as before, is no break: another is drawn. Suites run one by
one until one fails, for a file above files/ those of arithmetic/ and files/ left out; one that takes ten times as long as it should
has failed. Each break that is not caught is printed, unless mutants.txt says why it is not. Exit code 1 where fewer than --least per cent are caught. An hour or two of two cores. Python alone, gcc, make.

Not here: headers, generated tables (files/unicode.c), speed (program/bench.c), what the tests hold (tests/README.md)."""
import argparse
import concurrent.futures
import glob
import os
import queue
import random
import re
import shutil
import subprocess
import sys
import time

ROOMS = ["arithmetic/", "files/", "layers/", "", "training/", "evaluation/", "gradients/", "rivals/", "program/"]  # from below
ALONE = 2  # the suites of so many of them test nothing of the rooms above
SKIPPED = ["files/unicode.c", "program/bench.c"]
# No output depends on how much room an array has beyond what is used, nor on when threads are worth waking.
UNSEEN = re.compile(r"^[ \t]*(?!return|else)(?:static |const |unsigned )*\w+ +\**\w+\[[^\]]*\]|^[ \t]*OMP\(.*", re.M)
# What stands there, and what may stand there instead. Spaces tell a binary operator from a pointer's star.
RULES = [(re.compile(pattern), instead) for pattern, instead in [
    (r" < ", [" <= ", " >= "]), (r" <= ", [" < ", " > "]), (r" > ", [" >= ", " <= "]), (r" >= ", [" > ", " < "]),
    (r" == ", [" != "]), (r" != ", [" == "]), (r" && ", [" || "]), (r" \|\| ", [" && "]),
    (r" \+ ", [" - "]), (r" - ", [" + "]), (r" \* ", [" / ", " + "]), (r" / ", [" * "]), (r" % ", [" / "]),
    (r" & ", [" | "]), (r" \| ", [" & "]), (r" << ", [" >> "]), (r" >> ", [" << "]),
    (r" \+= ", [" -= "]), (r" -= ", [" += "]), (r"\+\+", ["--"]), (r"--", ["++"]),
    (r"(?<=[(\s])!(?=[\w(])", [""]), (r"(?<=[=(,?:] )-(?=[\w(])|(?<=[(\[])-(?=[\w(])|(?<=return )-(?=\w)", [""]),
    (r"(?<![\w.])0(?![\w.])", ["1"]), (r"(?<![\w.])1(?![\w.])", ["0", "2"]), (r"(?<![\w.])[2-9]\d*(?![\w.])", ["{n}+1", "{n}-1"]),
    (r"(?<![\w.])\d+\.\d*f?(?![\w.])", ["(2 * {n})", "(-{n})"]), (r"\btrue\b", ["false"]), (r"\bfalse\b", ["true"]),
]]


def level(name):
    """How high the room of a file, or of the file that a suite tests, stands, as far as suites differ by it."""
    rooms = [i for i, room in enumerate(ROOMS) if os.path.exists(f"{room}{name}.c")]
    return min(rooms[0], ALONE) if rooms else ALONE


def places(path, text):
    """Every break of a file: (path, where it begins, what stands there, what instead)."""
    blank = lambda m: re.sub(r"[^\n]", " ", m.group())
    code = re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'|^[ \t]*#(?:\\\n|[^\n])*', blank, text, flags=re.S | re.M)
    code = UNSEEN.sub(blank, code)
    for rule, instead in RULES:
        for m in rule.finditer(code):
            for new in instead:
                yield path, m.start(), m.group(), new.replace("{n}", m.group())


class Tree:
    """A copy of the sources, built, in which one file at a time is changed."""

    def __init__(self, path):
        self.path = path
        self.unchanged = {}     # object files of the sources that were changed so far
        shutil.rmtree(path, ignore_errors=True)
        os.makedirs(path)
        subprocess.run(f"git archive HEAD | tar -x -C '{path}'", shell=True, check=True)
        if self.make():
            sys.exit(f"{path}: the unchanged program does not build")

    def run(self, command, limit):
        try:
            return subprocess.run(command, shell=True, cwd=self.path, timeout=limit, capture_output=True, start_new_session=True,
                                  env=dict(os.environ, GOMP_SPINCOUNT="1000", OMP_NUM_THREADS="2", SAEURON_PROGRAM="./saeuron",
                                           SAEURON_FAULTY="build/tests/faulty")).returncode
        except subprocess.TimeoutExpired:
            return "timeout"

    def make(self):
        return self.run("make -s saeuron build/tests/run build/tests/faulty", 900)

    def objects(self, path):
        name = os.path.basename(path)[:-2]
        return {o: open(o, "rb").read() for o in glob.glob(f"{self.path}/build/{name}.o") +
                (glob.glob(f"{self.path}/build/kernels_*.o") if name == "kernels" else [])}

    def suite(self, name, limit):
        return self.run(f"timeout -k 1 {limit:.0f} build/tests/run {name}", limit + 5)

    def judge(self, place, suites):
        """None where the change is none; else the name of the suite that failed, or "" where none did."""
        path, at, old, new = place
        source = f"{self.path}/{path}"
        text = open(source).read()
        before = self.unchanged.setdefault(path, self.objects(path))
        try:
            with open(source, "w") as f:
                f.write(text[:at] + new + text[at + len(old):])
            if self.make() or self.objects(path) == before:
                return None
            own = os.path.basename(path)[:-2]
            for name in sorted(suites, key=lambda s: (s != own, suites[s])):
                if level(name) >= level(own) and self.suite(name, 10 + 10 * suites[name]):
                    return name
            return ""
        finally:
            with open(source, "w") as f:
                f.write(text)


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--count", type=int, default=300, help="breaks (default 300)")
    args.add_argument("--seed", type=int, default=1, help="of the draw (default 1)")
    args.add_argument("--jobs", type=int, default=2, help="at a time (default 2)")
    args.add_argument("--least", type=float, default=92, help="per cent that must be caught (default 92)")
    args.add_argument("--dir", default="build/mutants", help="copies of the sources (default build/mutants)")
    args = args.parse_args()

    sources = [p for room in ROOMS for p in sorted(glob.glob(room + "*.c")) if p not in SKIPPED]
    drawn = [p for path in sources for p in places(path, open(path).read())]
    random.Random(args.seed).shuffle(drawn)
    print(f"{len(drawn)} breaks in {len(sources)} files", flush=True)

    trees = queue.Queue()
    for i in range(args.jobs):
        trees.put(Tree(f"{args.dir}/{i}"))
    tree = trees.get()
    names = re.search(r"#define SUITES\(X\)(.*?)\n\n", open("tests/main.c").read(), re.S).group(1)
    suites = {}
    for name in re.findall(r"X\((\w+)\)", names):
        begin = time.monotonic()
        if tree.suite(name, 900):
            sys.exit(f"the unchanged program fails {name}")
        suites[name] = time.monotonic() - begin
    trees.put(tree)
    print(f"{len(suites)} suites, {sum(suites.values()):.0f} s", flush=True)

    def judge(place):
        tree = trees.get()
        try:
            return place, tree.judge(place, suites)
        finally:
            trees.put(tree)

    with open("tests/mutants.txt") as f:
        reasoned = {tuple(line.rstrip("\n").split("\t")[:3]) for line in f if not line.startswith("#")}
    caught, survived, none, known = [], [], 0, 0
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        waiting, drawn = set(), iter(drawn)
        while len(caught) + len(survived) < args.count:
            while len(waiting) < min(args.jobs, args.count - len(caught) - len(survived)):
                waiting.add(pool.submit(judge, next(drawn)))
            done, waiting = concurrent.futures.wait(waiting, return_when=concurrent.futures.FIRST_COMPLETED)
            for (path, at, old, new), suite in (f.result() for f in done):
                if suite is None:
                    none += 1
                    continue
                (caught if suite else survived).append(path)
                if not suite:
                    text = open(path).read()
                    line = text.count("\n", 0, at) + 1
                    broken, whole = f"{old.strip()} as {new.strip() or 'nothing'}", text.splitlines()[line - 1].strip()
                    if (path, broken, whole) in reasoned:
                        known += 1
                    else:
                        print(f"not caught  {path}:{line}: {broken}: {whole}")
                print(f"{len(caught) + len(survived)} of {args.count}, {len(survived)} not caught", file=sys.stderr, flush=True)
    for room in ROOMS:
        of = [sum((os.path.dirname(p) + "/").lstrip("/") == room for p in list_) for list_ in (caught, survived)]
        print(f"{room or 'root'}\t{of[0]} of {sum(of)}")
    share = 100 * len(caught) / args.count
    print(f"{none} changed nothing or did not compile\n{known} of {len(survived)} not caught stand in tests/mutants.txt\n{len(caught)} of {args.count} caught, {share:.1f} %")
    return share < args.least


if __name__ == "__main__":
    sys.exit(main())
