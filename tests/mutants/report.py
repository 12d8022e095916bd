"""What cargo-mutants found, against the survivors that are listed with a reason: python3 report.py MUTANTS_OUT SURVIVORS; see `run`.

A line of survivors.txt is `file ¦ text of the mutated line ¦ the mutation ¦ reason`: line numbers would age."""

import json
import pathlib
import re
import sys

out, listed = map(pathlib.Path, sys.argv[1:3])
crate = out.parent / "floors"


def key(name):
    """file:line:column: mutation -> (file, text of the line, mutation)"""
    file, line, _, mutation = re.fullmatch(r"([^:]+):(\d+):(\d+): (.*)", name).groups()
    return file, (crate / file).read_text().splitlines()[int(line) - 1].strip(), mutation


KINDS = ("caught", "previously_caught", "missed", "timeout", "unviable")
reasons = {}
for line in listed.read_text().splitlines():
    if line and not line.startswith("#"):
        file, text, mutation, reason = line.split(" ¦ ")
        reasons[file, text, mutation] = reason

names = {kind: [line for line in (out / f"{kind}.txt").read_text().splitlines() if line] for kind in KINDS}
survivors = [(name, key(name)) for name in names["missed"]]
unlisted = [(name, found) for name, found in survivors if found not in reasons]
total = len(json.loads((out / "mutants.json").read_text()))
for name, found in unlisted:
    print("survives, and is not listed:", " ¦ ".join(found), f"({name})")
for found in reasons.keys() - {found for _, found in survivors}:
    print("caught, or gone:", " ¦ ".join(found))
print(
    f"{len(names['previously_caught'])} done before, {len(names['caught'])} caught, {len(names['timeout'])} ran too long, {len(names['unviable'])} do not build, {len(survivors)} survive, "
    f"{len(unlisted)} of them without a reason; {total} tried last"
)
sys.exit(bool(unlisted))
