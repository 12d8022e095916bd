"""Which sides of the branches no test took: python3 report.py LLVM_COV PROFILE BUILT [--list]; see `run`."""

import collections
import json
import pathlib
import subprocess
import sys

FLOORS = ["format", "log", "manifest", "segment", "version", "database"]
# Files that are compiled for tests only.
TESTS = {"tests.rs", "testing.rs", "fixture.rs", "damage_tests.rs", "worked_example.rs"}
LEAST = 95.0
HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent.parent


def programs(built):
    """The test programs of cargo's messages, and the program that they run."""
    for line in built.read_text().splitlines():
        message = json.loads(line)
        if message.get("reason") == "compiler-artifact" and message.get("executable"):
            yield message["executable"]


def exported(llvm_cov, profile, objects):
    command = [llvm_cov, "export", f"-instr-profile={profile}", objects[0]]
    for program in objects[1:]:
        command += ["-object", program]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def test_lines(text):
    """Numbers of the lines inside `#[cfg(test)] mod … { … }`, which rustfmt ends by a brace in the first column."""
    inside, marked = set(), False
    for number, line in enumerate(text, 1):
        if inside and number - 1 in inside and text[number - 2] != "}":
            inside.add(number)
        elif marked and line.startswith(("mod ", "pub(crate) mod ")) and line.endswith("{"):
            inside.add(number)
        marked = line == "#[cfg(test)]" or (marked and line.startswith("#["))
    return inside


def branches(data):
    """(file, first and last place) -> [taken, not taken], summed over all copies of a generic function."""
    sides = collections.defaultdict(lambda: [0, 0])
    for function in data["data"][0]["functions"]:
        for line, column, last_line, last_column, taken, missed, file, *_ in function.get("branches", []):
            place = (function["filenames"][file], line, column, last_line, last_column)
            sides[place][0] += taken
            sides[place][1] += missed
    return sides


def reasons():
    """(file, text of the line, side) -> reason."""
    found = {}
    for number, line in enumerate((HERE / "uncovered.txt").read_text().splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        parts = [part.strip() for part in line.split(" ¦ ")]
        if len(parts) != 4 or parts[2] not in ("true", "false") or not parts[3]:
            sys.exit(f"uncovered.txt, line {number}: FILE ¦ LINE OF THE SOURCE ¦ true or false ¦ REASON")
        found[tuple(parts[:3])] = parts[3]
    return found


def main():
    llvm_cov, profile, built = sys.argv[1:4]
    sides = branches(exported(llvm_cov, profile, sorted(set(programs(pathlib.Path(built))))))
    texts, tests, counts = {}, {}, {floor: [0, 0] for floor in FLOORS}
    uncovered = []
    for (file, line, column, *_), taken in sorted(sides.items()):
        path = pathlib.Path(file)
        path = path.relative_to(ROOT) if path.is_absolute() and path.is_relative_to(ROOT) else path
        if path.parts[0] != "src" or path.parts[1] not in FLOORS or path.name in TESTS:
            continue
        if path not in texts:
            texts[path] = (ROOT / path).read_text().splitlines()
            tests[path] = test_lines(texts[path])
        if line in tests[path]:
            continue
        floor = path.parts[1]
        for side, count in zip(("true", "false"), taken):
            counts[floor][0] += count > 0
            counts[floor][1] += 1
            if count == 0:
                uncovered.append((str(path), line, column, texts[path][line - 1].strip(), side))
    listed = reasons()
    unlisted = [entry for entry in uncovered if (entry[0], entry[3], entry[4]) not in listed]
    if "--list" in sys.argv:
        for path, line, column, text, side in unlisted:
            print(f"{path}:{line}:{column} ¦ {text} ¦ {side}")
        # Races may be run into today and not tomorrow, so this is no failure.
        for path, text, side in listed.keys() - {(entry[0], entry[3], entry[4]) for entry in uncovered}:
            print(f"taken, or gone: {path} ¦ {text} ¦ {side}")
    print(f"{'floor':10} {'sides':>6} {'taken':>6}     %")
    failed = False
    for floor, (taken, all_) in counts.items():
        share = 100 * taken / all_ if all_ else 100.0
        failed |= share < LEAST
        print(f"{floor:10} {all_:6} {taken:6} {share:5.1f}")
    taken, all_ = (sum(count[index] for count in counts.values()) for index in (0, 1))
    print(f"{'all':10} {all_:6} {taken:6} {100 * taken / max(all_, 1):5.1f}")
    print(f"{len(uncovered)} sides not taken, {len(unlisted)} of them without a reason")
    sys.exit(bool(unlisted) or failed or all_ == 0)


if __name__ == "__main__":
    main()
