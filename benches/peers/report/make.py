"""Writes the part of docs/benchmarks.md that compares engines, and its plots, from the results of a run.

`make.py --results FILE… --document docs/benchmarks.md`: what stands between the two marks in the document is replaced; the rest stays as it is.
"""

import argparse
import datetime
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from plots import Plots  # noqa: E402
from results import Results  # noqa: E402
from tables import growth_table, settings, space_table, stage_tables  # noqa: E402
from targets import Targets  # noqa: E402

BEGIN, END = "<!-- made by benches/peers/report/make.py from here -->", "<!-- to here -->"

INTRODUCTION = """## Against peers

Made from the results of one run by `bash benches/peers/run --report`; nothing in this part is written by hand. To measure anew on a bare machine with Rust, a C++ compiler
and Python (it installs the peers, builds RocksDB for some minutes, and then takes at most ten):

```sh
bash benches/peers/run --quick && bash benches/peers/run --report
```

`--full` takes hours, goes up to ten million rows and can be cut off: `bash benches/peers/run --full --resume` goes on, and `--full --report` makes this part from it.

Each figure is the median of {rounds} rounds. In a round each workload runs for all engines in turn, a process each, and who begins changes; before each the file system is synced. The
machine itself (*machine*) is probed between them: append + fdatasync, rows of a mapped file without a lookup, plain reading of memory; and each load stands between two sequential
writes + sync of the same bytes; batches are copied together within the time of a load. Ratios are medians of the ratios within rounds. Every row that is read is multiplied with a query. Bytes written are the pages that the kernel accounts to
the process, logs included; memory is the peak of what is resident, anonymous and of mapped files apart, beyond what was before. "Over budget": the workload was stopped after its budget
of seconds, the figure is its rate until then. Rows in which a peer is ahead say **behind**. LanceDB and USearch have no state that is synced: theirs is compared as it is. No data set is
larger than memory.
"""


def describe(results):
    header = results.header
    date = datetime.datetime.fromtimestamp(header.get("unix_time", 0), datetime.timezone.utc).date()
    memory = header.get("memory_bytes", 0) / 2**30
    loads = sorted(results.loads)
    text = (
        f"Measured on {date}, commit {header.get('commit')}, plan `{header.get('plan')}`, on {header.get('cores')} cores of {header.get('processor')} with {memory:.0f} GiB, "
        f"Linux {header.get('kernel')}."
    )
    if loads and loads[len(loads) // 2] > 3:
        text += f" **The machine was not idle: its load average was {loads[len(loads) // 2]:.1f} at the median; figures are worth little.**"
    if results.cuts:
        text += f" The run was cut off {results.cuts[-1]}: some rounds are missing."
    return text


def stage_title(results, stage):
    rows, dimension = results.describe(stage)
    kind = "real ids and vectors" if stage == "real" else "random vectors, ids like `doc-00000042#chunk-3`"
    memtable = results.memtable_bytes(stage)
    kind += f", memtables of {memtable / 2**20:.1f} MiB in those engines that have them" if memtable else ""
    return f"### {stage}: {rows:,} × {dimension}, {kind}\n"


def compose(results, main, plots):
    rounds = len(results.rounds(main))
    parts = [INTRODUCTION.format(rounds=rounds), describe(results), "", "### Targets\n", Targets(results, main).table()]
    parts += ["What was tried for those that are missed stands under [Designs that were tried](#designs-that-were-tried).\n"]
    parts += [f"![{caption}](benchmarks/{name}.svg)\n\n{caption}\n" for name, caption in plots]
    losses = []
    for stage in results.stages():
        if stage.startswith(("space-", "scale-")):
            continue
        tables, behind = stage_tables(results, stage)
        parts += [stage_title(results, stage), tables]
        losses += [(stage, *loss) for loss in behind]
    space = space_table(results)
    if space:
        parts += ["### Disk over raw vectors, after a batch load, by dimension\n", space]
    growth = growth_table(results)
    if growth:
        parts += ["### Cost against the number of rows\n", growth]
    if losses:
        lines = [f"- {stage}: {label}: {verdict}" for stage, _, label, verdict in sorted(losses, key=lambda loss: loss[1])]
        parts += ["### Where varvite is behind, the furthest first\n", "\n".join(lines) + "\n"]
    errors = list(results.errors())
    if errors:
        parts += ["### What failed\n", "\n".join(f"- {line}" for line in errors) + "\n"]
    parts += ["### Versions and settings\n", settings(results.header)]
    return "\n".join(parts)


def replace(document, text):
    marked = f"{BEGIN}\n\n{text}\n{END}\n"
    with open(document, encoding="utf-8") as file:
        before = file.read()
    pattern = re.compile(re.escape(BEGIN) + ".*?" + re.escape(END) + "\n", re.DOTALL)
    # A function, so that backslashes of the text stay what they are.
    after = pattern.sub(lambda _: marked, before) if pattern.search(before) else before.rstrip("\n") + "\n\n" + marked
    with open(document, "w", encoding="utf-8") as file:
        file.write(after)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--results", nargs="+", required=True)
    parser.add_argument("--document", required=True)
    parser.add_argument("--main", default="random", help="the stage that the targets are read from")
    arguments = parser.parse_args()
    results = Results(arguments.results)
    stage = arguments.main if arguments.main in results.stages() else results.stages()[0]
    folder = os.path.join(os.path.dirname(os.path.abspath(arguments.document)), "benchmarks")
    replace(arguments.document, compose(results, stage, Plots(results, stage, folder).draw()))
    print(f"wrote {arguments.document} and the plots in its folder benchmarks/")


if __name__ == "__main__":
    main()
