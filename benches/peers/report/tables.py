"""Markdown tables. A row in which a peer is ahead says so."""

from results import NAMES
from rows import CEILINGS, GROWTH, SECTIONS


def number(value):
    if value is None:
        return "–"
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    # Small ones keep two digits that say something.
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.2g}"


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def standing(results, stage, row, engines):
    """How varvite stands against the best peer of a row: above 1 is ahead."""
    medians = {engine: results.median(stage, engine, row.value) for engine in engines if engine not in ("machine", "varvite")}
    peers = {engine: value for engine, value in medians.items() if value is not None}
    own = results.median(stage, "varvite", row.value)
    if own is None or not peers or row.lower_is_better is None:
        return "", None
    best = (min if row.lower_is_better else max)(peers, key=peers.get)
    if own == peers[best]:
        return "even", 1.0
    if 0 in (own, peers[best]):
        ahead = (own == 0) == row.lower_is_better
        return (f"ahead of {NAMES[best]}" if ahead else f"**behind {NAMES[best]}**"), None
    # The median of the rounds' ratios; that of medians where no round has both.
    ratio = results.ratio(stage, row.value, "varvite", best) or own / peers[best]
    ahead = 1 / ratio if row.lower_is_better else ratio
    if abs(ahead - 1) < 0.005:
        return "even", ahead
    text = f"{number(ahead)}× {NAMES[best]}"
    return (text if ahead >= 1 else f"**{text}: behind**"), ahead


def cell(results, stage, engine, row):
    value = results.median(stage, engine, row.value)
    note = results.notes(stage, engine, row.workload)
    if value is None:
        return note or "–"
    return number(value) + (f" ({note})" if note else "")


def ceiling(results, stage, row):
    """The machine's own figure, where the row is in its unit."""
    engine, probe = CEILINGS.get(row.workload, (None, None))
    if probe is None or probe.unit != row.unit or "p99" in row.label:
        return "–"
    return number(results.median(stage, engine, probe.value))


def stage_tables(results, stage):
    engines = [engine for engine in results.engines(stage) if engine != "machine"]
    text, losses = [], []
    for title, rows in SECTIONS:
        lines = []
        for row in rows:
            cells = [cell(results, stage, engine, row) for engine in engines]
            if all(entry in ("–", "unsupported") for entry in cells):
                continue
            verdict, ahead = standing(results, stage, row, engines)
            if verdict.startswith("**"):
                losses.append((ahead or 0.0, row.label, verdict.strip("*")))
            label = f"{row.label}, {row.unit}" if row.unit not in ("", "×") else row.label
            lines.append([label, ceiling(results, stage, row), *cells, verdict])
        if lines:
            head = [title, "machine", *(NAMES[engine] for engine in engines), "varvite / best peer"]
            text.append(table(head, lines))
    return "\n".join(text), losses


def space_table(results):
    """Disk over raw vectors by dimension."""
    stages = [stage for stage in results.stages() if stage.startswith("space-")]
    engines = [engine for engine in results.engines(stages[0]) if engine != "machine"] if stages else []
    rows = []
    for stage in stages:
        count, dimension = results.describe(stage)
        vectors = count * dimension * 4
        values = [results.median(stage, engine, lambda cells: cells("batch-load", "disk_bytes") / vectors) for engine in engines]
        rows.append([str(dimension), f"{count:,}", *map(number, values)])
    return table(["dimension", "rows", *(NAMES[engine] for engine in engines)], rows) if rows else ""


def growth_stages(results):
    """Stages that differ in the number of rows only, with it, the smallest first."""
    return sorted((results.describe(stage)[0], stage) for stage in results.stages() if stage.startswith("scale-"))


def growth_table(results):
    """What an operation costs beside so many rows."""
    sized = growth_stages(results)
    if len(sized) < 2:
        return ""
    lines = []
    for row in GROWTH:
        for engine in results.engines(sized[0][1]):
            values = [results.median(stage, engine, row.value) for _, stage in sized]
            if engine != "machine" and any(value is not None for value in values):
                lines.append([f"{row.label}, {row.unit}", NAMES[engine], *map(number, values)])
    return table(["", "", *(f"{rows:,} rows" for rows, _ in sized)], lines)


def settings(header):
    lines = []
    for engine, described in header.get("engines", {}).items():
        options = "; ".join(f"{name}: {value}" for name, value in described["settings"].items())
        lines.append([NAMES[engine], described["version"], options])
    return table(["engine", "version", "settings"], lines)
