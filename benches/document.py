"""Makes docs/benchmarks.md and its plots from the figures of a run, or of several; `benches/run` calls it. Needs matplotlib.

    document.py FIGURES.json… docs/benchmarks.md docs/benchmarks.svg
"""

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

*given, document, plots = [Path(argument) for argument in sys.argv[1:]]
runs = [json.loads(figures.read_text()) for figures in given]
sizes = [size for run in runs for size in run["sizes"]]
MIB = 1024 * 1024


def count(number):
    return f"{number:,.0f}"


def near(number, digits=2):
    return "–" if number is None else f"{number:.{digits}f}"


def short(tokens):
    for size, name in ((1_000_000, "million"), (1_000, "thousand")):
        if tokens >= size:
            return f"{tokens / size:g} {name}"
    return str(tokens)


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows] + [""]


def verification(size):
    for row in size["verification"]:
        ours, bare = row["ours"], row["bare"]
        yield (
            row["name"], row["access"], count(ours["per_second"]), near(row["ratio"]),
            near(ours["cpu_micros"], 1), near(row["cpu_ratio"]),
            f"{count(ours['median_micros'])} / {count(ours['p99_micros'])}",
            f"{count(bare['median_micros'])} / {count(bare['p99_micros'])}",
        )


def changes(size):
    for row in size["changes"]:
        f = row["figures"]
        yield (row["name"], row["callers"], count(f["per_second"]), near(row["batch"], 1),
               near(f["cpu_micros"], 0), f"{f['median_micros'] / 1e3:.1f} / {f['p99_micros'] / 1e3:.1f}")


def by_size(rows):
    """A table with a column for each size; `rows` are names and functions of a size."""
    return table([""] + [short(size["tokens"]) for size in sizes],
                 [[name] + [of(size) for size in sizes] for name, of in rows])


lines = [
    "# Benchmarks",
    "",
    "Made by `benches/run`, never by hand. Ratios carry over to other machines, absolute figures do not.",
    "",
    *(
        f"{', '.join(short(size['tokens']) for size in run['sizes'])} tokens: {machine['date']}, commit "
        f"{machine['commit']}, {machine['processor']} ({machine['cores']} cores, "
        f"{machine['memory_bytes'] / MIB / 1024:.0f} GiB), Linux {machine['kernel']}.  "
        for run in runs for machine in [run["machine"]]
    ),
    "",
    "Daemon and bare server run on one processor each in turn, the load on another, where it looks for answers without "
    "going to sleep, so that nobody is charged for waking it (which would be charged to the slower of two servers more "
    "often); a round of one follows a round of the other, and the figures are medians over the rounds. The *bare "
    "server* is hyper with one fixed answer: it is sent the same requests, looks at none of them, and answers with as "
    "many bytes. Processor time is what the kernel's scheduler accounts to the server's threads. *Uniform*: every token as often as another; "
    "*skewed*: the n-th most asked about with a frequency of 1/n. The stores hold tokens of as many owners as a "
    "thousandth of them, each with its index rows and its audit entry.",
    "",
    f"![Throughput and processor time beside the bare server]({plots.name})",
    "",
]

for size in sizes:
    lines += [f"## Verification at {short(size['tokens'])} tokens", ""]
    lines += table(["question", "access", "per second", "of the bare server's", "CPU µs", "of the bare server's",
                    "median / p99 µs", "bare median / p99 µs"], verification(size))

lines += ["## Verification as the store grows, and in batches", ""]
lines += by_size([
    *((f"batch introspection, {batches['access']}: tokens a second / CPU µs a token", lambda s, at=at:
       f"{count(s['batches'][at]['tokens_per_second'])} / {near(s['batches'][at]['cpu_micros_a_token'])}")
      for at, batches in enumerate(sizes[0]["batches"])),
    ("p99 of verification, quiet, ms", lambda s: near(s["flood"]["quiet"]["p99_micros"] / 1e3)),
    ("p99 of verification under a flood of mints, ms", lambda s: near(s["flood"]["flooded"]["p99_micros"] / 1e3)),
    ("times the quiet value", lambda s: near(s["flood"]["flooded"]["p99_micros"] / s["flood"]["quiet"]["p99_micros"], 1)),
    ("verifications a second under that flood", lambda s: count(s["flood"]["flooded"]["per_second"])),
    ("mints a second meanwhile, 64 callers", lambda s: count(s["flood"]["mints"]["per_second"])),
])

for size in sizes:
    lines += [f"## Durable changes at {short(size['tokens'])} tokens", ""]
    lines += table(["change", "callers", "per second", "changes a commit", "CPU µs", "median / p99 ms"], changes(size))
    lines += ["Last uses of tokens from all over the store, verified once each:", ""]
    lines += table(["callers", "verified per second", "waiting for the disk at the end", "median / p99 µs"], [
        (row["callers"], count(row["figures"]["per_second"]), count(row["backlog"]),
         f"{count(row['figures']['median_micros'])} / {count(row['figures']['p99_micros'])}")
        for row in size["last_use"]])

lines += ["## Size, starts, memory", "",
          "The engine makes the file longer than it needs, ahead of time; what was never written takes no space on "
          "the disk. A start lasts from the start of the process to its first good answer at `/readyz`; *cold* means "
          "that nothing of the file was in the system's memory.", ""]
lines += by_size([
    ("bytes a token on the disk, with its audit entry", lambda s: count(s["disk_bytes"] / s["tokens"])),
    ("length of the file, MB", lambda s: count(s["bytes"] / 1e6)),
    ("ready after a clean stop, ms", lambda s: count(s["starts"]["clean"])),
    ("the same, cold, ms", lambda s: count(s["starts"]["cold"])),
    ("ready after kill -9 under load, ms", lambda s: count(s["starts"]["killed"])),
    ("the same, cold, ms", lambda s: count(s["starts"]["killed_cold"])),
    ("memory after verifications, MiB", lambda s: count(s["memory_after_reading"] / MIB)),
    ("most memory, changes and a backup included, MiB", lambda s: count(s["memory_most"] / MIB)),
    ("clean stop with what waits, ms", lambda s: count(s["stop"])),
])

lines += ["## What does not grow with the store", "",
          "A page has 50 rows; a flush writes down the last uses of 1,000 tokens from all over the store; a step of "
          "the purge finds and removes 500 dead tokens. Milliseconds.", ""]
lines += by_size([
    ("the newest page of all tokens", lambda s: near(s["upkeep"]["page_of_all"])),
    ("a page from the middle", lambda s: near(s["upkeep"]["page_from_the_middle"])),
    ("a page of one owner's", lambda s: near(s["upkeep"]["page_of_an_owner"])),
    ("a page of one kind", lambda s: near(s["upkeep"]["page_of_a_kind"])),
    ("a page that no index serves and nothing is on", lambda s: near(s["upkeep"]["page_of_nothing"])),
    ("flush of last uses", lambda s: near(s["upkeep"]["flush"])),
    ("step of the purge", lambda s: near(s["upkeep"]["purge"])),
    ("backup, s", lambda s: near(s["backup"]["seconds"])),
    ("backup, µs a token", lambda s: near(s["backup"]["seconds"] * 1e6 / s["tokens"], 1)),
])

lines += ["## How much memory for pages", "",
          "Looking up a token's row (its MAC checked) with so much memory for the engine's pages, all of the file being "
          "in the system's memory: µs of processor time, uniform / skewed.", ""]
lines += by_size([
    (f"{cache['mebibytes']} MiB",
     lambda s, index=index: f"{near(s['caches'][index]['uniform'])} / {near(s['caches'][index]['skewed'])}")
    for index, cache in enumerate(sizes[0]["caches"])])

if any(size["compared"] for size in sizes):
    lines += ["## Beside others, in the same run", "",
              "oidc-provider holds 200 tokens in memory, and the two databases nothing but what they are asked to keep, "
              "whatever the daemon holds. SQLite with one writer and a commit for each token (write-ahead log, synchronous "
              "FULL), which is the most it does; PostgreSQL from 64 callers; both write a token and an audit row in one "
              "transaction, without HTTP. The daemon mints over HTTP for 64 callers. SQLite is asked within its process, where "
              "nobody has to be woken, and is held against callers who are awake; those of PostgreSQL sleep until they are "
              "answered, and so do those that it is held against. A second: theirs / the daemon's, and how many times theirs "
              "that is.", ""]

    def beside(theirs, ours, ratio):
        def cell(size):
            if not (compared := size["compared"]):
                return "–"
            of = lambda figure: compared[figure] if isinstance(compared[figure], float) else compared[figure]["per_second"]
            return f"{count(of(theirs))} / {count(of(ours))}: {near(compared[ratio], 1)}"
        return cell

    lines += by_size([
        ("introspection by npm oidc-provider", beside("oidc", "ours", "oidc_ratio")),
        ("durable mints by SQLite", beside("sqlite", "mints", "sqlite_ratio")),
        ("durable mints by PostgreSQL", beside("postgres", "mints_for_sleepers", "postgres_ratio")),
    ])

document.write_text("\n".join(lines).rstrip() + "\n")

plt.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "bearerd", "font.size": 9})
pictures, (left, right) = plt.subplots(1, 2, figsize=(11, 4.5), sharey=True)
names = [f"{row['name']} ({row['access']})" for row in sizes[0]["verification"]]
width = 0.8 / len(sizes)
for index, size in enumerate(sizes):
    places = [place + index * width for place in range(len(names))]
    label = f"{short(size['tokens'])} tokens"
    left.barh(places, [row["ratio"] or 0 for row in size["verification"]], width, label=label)
    right.barh(places, [row["cpu_ratio"] or 0 for row in size["verification"]], width, label=label)
left.set_yticks([place + 0.4 - width / 2 for place in range(len(names))], names)
left.invert_yaxis()
left.axvline(1, color="black", linewidth=0.8)
right.axvline(1, color="black", linewidth=0.8)
left.set_title("throughput, bare server = 1")
right.set_title("processor time a request, bare server = 1")
right.legend(loc="best")
pictures.tight_layout()
pictures.savefig(plots, metadata={"Date": None})
