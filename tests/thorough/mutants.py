#!/usr/bin/env python3
"""Mutation testing of the floors that decide, in minutes instead of hours.

    tests/thorough/mutants.py                        token, records, rules and the store
    tests/thorough/mutants.py src/token              one floor
    tests/thorough/mutants.py src/rules/verify.rs …  some files

`cargo mutants` finds the mutants. Compiling each of them by itself takes hours, so `switches/` puts all of them into
one program, each behind a switch that an environment variable turns on; what does not compile is left out, as always.
The floors need none of those above them and are compiled by themselves; functions that could run while a program is
compiled, and need not, cannot there.

First every test of the floors runs once by itself and tells which switches it comes by. A mutant faces the tests that
come by its own, the quickest first: no other can tell it from the original. It is caught if a test fails, or goes on
for ever: computes ten times as long as without it ($MUTANTS_SECONDS, 10, at least), or sleeps for that long and waits
for nothing. Time is what it computed, so a machine that is busy makes no difference. What stands in a constant has no
switch and is run by `cargo mutants` itself.

Ends with counts and the survivors, exits 1 if there are any. Everything lies in $MUTANTS_DIR; what was caught there is
not run again. $MUTANTS_JOBS says how many run at once (1)."""

import json
import os
import re
import resource
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent.parent
PLACE = Path(os.environ.get("MUTANTS_DIR", "/tmp/bearerd-mutants"))
TREE = PLACE / "tree"
FLOORS = ["token", "records", "settings", "rules", "store"]
SECONDS = int(os.environ.get("MUTANTS_SECONDS", "10"))
MEMORY = 4 << 30
ENV = {**os.environ, "CARGO_TARGET_DIR": str(PLACE / "target"), "CARGO_TERM_COLOR": "never"}

SWITCH = """
/// Which mutant is in force.
pub mod switch {
    use std::sync::{LazyLock, atomic::{AtomicBool, Ordering}};

    static NUMBER: LazyLock<usize> =
        LazyLock::new(|| std::env::var("MUTANT").map_or(usize::MAX, |text| text.parse().unwrap()));
    static TOLD: LazyLock<Option<std::fs::File>> =
        LazyLock::new(|| {
            let open = |path| std::fs::File::options().append(true).open(path).unwrap();
            std::env::var("REACHED").ok().map(open)
        });
    static SEEN: [AtomicBool; 10_000] = [const { AtomicBool::new(false) }; 10_000];

    /// Whether mutant `number` is. Tells that it was asked, where that is wanted.
    pub fn on(number: usize) -> bool {
        if let Some(mut told) = TOLD.as_ref() && !SEEN[number].swap(true, Ordering::Relaxed) {
            std::io::Write::write_all(&mut told, format!("{number}\\n").as_bytes()).unwrap();
        }
        *NUMBER == number
    }
}
"""


def run(*command, **options):
    return subprocess.run(command, env=ENV, text=True, capture_output=True, **options)


def plant(constant=None):
    """The floors by themselves, with what they depend on. Hashing is not changed, so it may be fast. Of the functions
    that may run while a program is compiled, only those named `constant` still do, where any are named."""
    shutil.rmtree(TREE, ignore_errors=True)
    (TREE / "src").mkdir(parents=True)
    for floor in FLOORS:
        shutil.copytree(TOP / "src" / floor, TREE / "src" / floor)
    if constant is not None:
        free = lambda found: found[0] if found[2] in constant else f"{found[1]}fn {found[2]}"
        for path in (TREE / "src").rglob("*.rs"):
            path.write_text(re.sub(r"^( *(?:pub(?:\([a-z ]+\))? )?)const fn (\w+)", free, path.read_text(), flags=re.M))
    sources = "\n".join(path.read_text() for path in (TREE / "src").rglob("*.rs"))
    manifest, part = [], ""
    for line in (TOP / "Cargo.toml").read_text().splitlines():
        if line.startswith("["):
            part = line
        name = line.split(" ")[0].replace("-", "_")
        unused = part == "[dependencies]" and "=" in line and not re.search(rf"\b{name}(::|!)", sources)
        aside = re.match(r"\[\[(bin|bench|example)\]\]|\[profile|\[package\.metadata|\[lints", part)
        if not unused and not aside and not line.startswith("default-run"):
            manifest.append(line)
    manifest += ["[profile.dev]", "debug = false", '[profile.dev.package."*"]', "opt-level = 2", ""]
    (TREE / "Cargo.toml").write_text("\n".join(manifest))
    shutil.copy(TOP / "Cargo.lock", TREE)
    if (TOP / ".cargo/mutants.toml").exists():
        (TREE / ".cargo").mkdir()
        shutil.copy(TOP / ".cargo/mutants.toml", TREE / ".cargo")
    # Tests hold pages and examples against the sources.
    for folder in ("docs", "systemd"):
        shutil.copytree(TOP / folder, TREE / folder)
    (TREE / "README.md").write_text("")
    kept = [f"pub mod {floor};" for floor in FLOORS]
    library = (TOP / "src/lib.rs").read_text().splitlines()
    library = [line for line in library if not line.startswith("pub mod") or line in kept]
    (TREE / "src/lib.rs").write_text("\n".join(library) + "\n")


def found(asked):
    """What `cargo mutants` finds, as it says it."""
    shown = run("cargo", "mutants", "--list", "--json", "-f", "src/**", cwd=TREE)
    listed = json.loads(shown.stdout)
    for mutant in listed:
        del mutant["diff"]
    inside = [given if given.endswith(".rs") else given.rstrip("/") + "/" for given in asked]
    return [mutant for mutant in listed if any(mutant["file"].startswith(given) for given in inside)]


def compiled(mutants, out):
    """Rewrites and compiles, leaving out what does not compile: the program, and the numbers of what is in it."""
    switches = {**ENV, "CARGO_TARGET_DIR": str(PLACE / "switches")}
    rewriter = Path(__file__).parent / "switches"
    subprocess.run(["cargo", "build", "--quiet"], cwd=rewriter, env=switches, check=True)
    constant = set()
    while True:
        plant(constant)
        chosen = [{**mutant, "genre": "none"} if at in out else mutant for at, mutant in enumerate(mutants)]
        (PLACE / "list.json").write_text(json.dumps(chosen))
        left = run(str(PLACE / "switches/debug/switches"), str(PLACE / "list.json"), str(TREE), check=True).stdout
        away = {number: "by itself" for number in map(int, left.split()) if number not in out}
        library = TREE / "src/lib.rs"
        library.write_text(library.read_text() + SWITCH)
        built = run("cargo", "test", "--lib", "--no-run", "--message-format=json", cwd=TREE)
        (PLACE / "build.log").write_text(built.stdout + built.stderr)
        messages = [json.loads(line) for line in built.stdout.splitlines() if line.startswith("{")]
        programs = [message["executable"] for message in messages if message.get("executable")]
        if programs:
            out.update(away)
            return programs[-1]
        broken, before = {}, len(constant)
        for message in messages:
            told = message.get("message") or {}
            if message["reason"] == "compiler-message" and told["level"] == "error":
                needed = re.search(r"non-const .*`(?:.*::)?(\w+)(?:::<.*>)?`", told["message"])
                if (told.get("code") or {}).get("code") == "E0015" and needed:
                    constant.add(needed[1])
                    continue
                for span in told["spans"]:
                    place(span, told, mutants, broken)
        if len(constant) > before:
            # What else is wrong may come of that.
            continue
        if not set(broken) - set(out):
            sys.exit(f"it does not compile, and no mutant is to blame: {PLACE / 'build.log'}")
        out.update(broken)
        print(f"{len(broken)} more are left out", flush=True)


def place(span, told, mutants, broken):
    """Which mutants stand in the lines of an error. What returns something of no such type does not compile in any
    way; what is written otherwise might, by itself."""
    if not span["is_primary"]:
        return
    lines = (TREE / span["file_name"]).read_text().splitlines()
    if (told.get("code") or {}).get("code") == "E0004":
        # An arm is missing somewhere in that match.
        depth = 0
        for line in lines[span["line_start"] - 1 :]:
            for number in map(int, re.findall(r"switch::on\((\d+)\)", line)):
                if mutants[number]["genre"] == "MatchArm":
                    broken.setdefault(number, "by itself")
            depth += line.count("{") - line.count("}")
            if depth <= 0:
                return
    for line in range(span["line_start"] - 1, span["line_end"]):
        around = [lines[line]] if "switch::on(" in lines[line] else lines[max(0, line - 4) : line + 1]
        for number in map(int, re.findall(r"switch::on\((\d+)\)", "\n".join(around))):
            opaque = "impl " in ((mutants[number]["function"] or {}).get("return_type") or "")
            plain = mutants[number]["genre"] == "FnValue" and not opaque
            code = (told.get("code") or {}).get("code")
            broken.setdefault(number, "does not compile" if plain or code in ("E0277", "E0369") else "by itself")


def computed(process):
    """The seconds that a process has computed so far, and whether any of its threads wants to go on."""
    fields = lambda path: (path / "stat").read_text().rsplit(") ", 1)[1].split()
    own = Path(f"/proc/{process}")
    ticks = sum(map(int, fields(own)[11:13]))
    wants = any(fields(thread)[0] in "RD" for thread in (own / "task").iterdir())
    return ticks / os.sysconf("SC_CLK_TCK"), wants


def watch(process, seconds):
    """Ends what computes for too long, or does nothing for so long."""
    last, since = 0.0, time.monotonic()
    while process.poll() is None:
        time.sleep(0.5)
        try:
            now, wants = computed(process.pid)
        except (OSError, IndexError):
            continue
        if now > last or wants:
            last, since = now, time.monotonic()
        if now > seconds or time.monotonic() > since + max(30, SECONDS):
            return process.kill()


def lives(program, number, tests, seconds, **environment):
    """Whether these tests let mutant `number` live."""
    told = subprocess.Popen(
        [program, "--exact", *tests, "--test-threads", "2"], env={**ENV, "MUTANT": str(number), **environment}, cwd=TREE,
        text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY)))
    threading.Thread(target=watch, args=(told, seconds), daemon=True).start()
    try:
        for line in told.stdout:
            if line.startswith("test ") and line.rstrip().endswith("FAILED"):
                return False
        return told.wait() == 0
    finally:
        told.kill()
        told.wait()


def looked_at(program):
    """Every test, with the seconds that it computes and the mutants that it comes by."""
    listed = run(program, "--list", cwd=TREE).stdout.splitlines()
    tests = {}
    for test in (line.removesuffix(": test") for line in listed if line.endswith(": test")):
        reached = PLACE / "reached"
        reached.write_text("")
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([program, "--exact", test, "--test-threads", "1"], cwd=TREE, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, env={**ENV, "REACHED": str(reached)})
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode != 0:
            sys.exit(f"{test} fails without any mutant")
        seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        tests[test] = (seconds, set(map(int, reached.read_text().split())))
    return tests


def judged(program, number, tests):
    able = sorted((seconds, test) for test, (seconds, reached) in tests.items() if number in reached)
    portions, portion, cost = [], [], 0.0
    for seconds, test in able:
        portion.append((seconds, test))
        cost += seconds
        # Small ones first: most mutants need no more.
        if cost > 0.25 * 2 ** len(portions):
            portions.append(portion)
            portion, cost = [], 0.0
    # A few examples of each property are enough for most.
    for environment in ({"PROPTEST_CASES": "16"}, {}):
        for portion in filter(None, [*portions, portion]):
            most = max(SECONDS, 10 * sum(seconds for seconds, _ in portion))
            if not lives(program, number, [test for _, test in portion], most, **environment):
                return "caught"
    return "alive"


def wider(file):
    floor = file.split("/")[1]
    return ["records::", "rules::"] if floor == "records" else [f"{floor}::"]


def by_itself(mutants):
    """What has no switch, compiled one by one by `cargo mutants`: what became of each."""
    plant()
    became = {}
    for mutant in mutants:
        only = "^" + re.escape(mutant["name"]) + "$"
        shutil.rmtree(PLACE / "mutants.out", ignore_errors=True)
        run("cargo", "mutants", "--in-place", "--baseline", "skip", "--timeout", str(120 * SECONDS), "--output", str(PLACE),
            "-F", only, "-f", mutant["file"], "--", "--lib", "--", *wider(mutant["file"]), cwd=TREE)
        for file, says in [("caught", "caught"), ("timeout", "caught"), ("missed", "alive"),
                           ("unviable", "does not compile")]:
            if (PLACE / f"mutants.out/{file}.txt").read_text().strip():
                became[mutant["name"]] = says
        print(f"{became.get(mutant['name'], '?')}: {mutant['name']}", flush=True)
    return became


def main():
    asked = sys.argv[1:] or ["src/token", "src/records", "src/rules", "src/store"]
    if not shutil.which("cargo-mutants"):
        subprocess.run(["cargo", "install", "--locked", "--quiet", "cargo-mutants"], check=True)
    PLACE.mkdir(parents=True, exist_ok=True)
    kept = PLACE / "became.json"
    became = json.loads(kept.read_text()) if kept.exists() else {}
    plant()
    mutants = found(asked)
    print(f"{len(mutants)} mutants", flush=True)
    out = {at: "known" for at, one in enumerate(mutants) if became.get(one["name"]) in ("caught", "does not compile")}
    program = compiled(mutants, out)
    print(f"{len(mutants) - len(out)} are behind switches", flush=True)
    tests = looked_at(program)
    print(f"{len(tests)} tests compute {sum(seconds for seconds, _ in tests.values()):.0f} s", flush=True)
    single = [mutants[at] for at, why in out.items() if why == "by itself"]
    became |= {mutants[at]["name"]: why for at, why in out.items() if why == "does not compile"}
    lock = threading.Lock()

    def judge(at):
        says = judged(program, at, tests)
        with lock:
            became[mutants[at]["name"]] = says
            kept.write_text(json.dumps(became, indent=0))
            if says == "alive":
                print(f"alive: {mutants[at]['name']}", flush=True)

    with ThreadPoolExecutor(int(os.environ.get("MUTANTS_JOBS", "1"))) as pool:
        list(pool.map(judge, [at for at in range(len(mutants)) if at not in out]))
    became |= by_itself(single)
    kept.write_text(json.dumps(became, indent=0))
    names = {mutant["name"] for mutant in mutants}
    of = lambda says: sorted(name for name in names if became.get(name) == says)
    caught, alive = of("caught"), of("alive")
    print(f"{len(caught)} of {len(caught) + len(alive)} caught, {len(of('does not compile'))} do not compile; alive:")
    print("\n".join(alive))
    sys.exit(bool(alive))


main()
