#!/usr/bin/env python3
"""Cuts the sample of this directory out of the full set of embeddings.

usage: make_sample.py SOURCE_DIRECTORY [TARGET_DIRECTORY]

SOURCE_DIRECTORY holds base.npy, base.ids and base.jsonl (see README.md). Needs numpy.
"""

import json
import pathlib
import sys

import numpy

CHAPTERS = """
Genesis 1, Genesis 2, Genesis 3, Exodus 14, Exodus 20, Deuteronomy 6, Joshua 6, 1 Samuel 17, 1 Kings 3, Job 38,
Psalms 23, Psalms 51, Psalms 91, Psalms 104, Proverbs 3, Proverbs 31, Ecclesiastes 3, Song of Solomon 2, Isaiah 40,
Isaiah 53, Daniel 6, Jonah 1, Jonah 2, Matthew 5, Matthew 6, Matthew 7, Mark 4, Luke 2, Luke 10, Luke 15, John 1,
John 3, Acts 2, Romans 8, 1 Corinthians 13, 1 Corinthians 15, Ephesians 6, Hebrews 11, James 3, Revelation 6,
Revelation 21, Revelation 22
"""


def main(source, target):
    wanted = {tuple(chapter.strip().rsplit(" ", 1)) for chapter in CHAPTERS.split(",")}
    lines = (source / "base.jsonl").read_text(encoding="utf-8").splitlines()
    ids = (source / "base.ids").read_text(encoding="utf-8").splitlines()
    vectors = numpy.load(source / "base.npy", mmap_mode="r")
    assert len(lines) == len(ids) == len(vectors)
    rows, found = [], set()
    for row, line in enumerate(lines):
        record = json.loads(line)
        metadata = record["metadata"]
        chapter = (metadata.get("book"), str(metadata.get("chapter")))
        if metadata["source"] == "kjv" and chapter in wanted:
            assert record["id"] == ids[row]
            rows.append(row)
            found.add(chapter)
    assert found == wanted, wanted - found
    numpy.save(target / "verses.npy", vectors[rows])
    (target / "verses.ids").write_text("".join(ids[row] + "\n" for row in rows), encoding="utf-8")
    (target / "verses.jsonl").write_text("".join(lines[row] + "\n" for row in rows), encoding="utf-8")
    print(f"{len(rows)} verses of {len(found)} chapters")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]) if len(sys.argv) == 3 else pathlib.Path(__file__).parent)
