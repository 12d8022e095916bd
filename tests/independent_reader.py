#!/usr/bin/env python3
"""Second reader of varvite databases, written from format-spec.md alone (numpy and the standard library).

    python3 tests/independent_reader.py [--recover] DIRECTORY

Checks every byte that the newest manifest answers for and replays the logs as a recovery would. Then it prints, for
every collection by id, one JSON line {"collection", "dimension", "metric", "count"}, and behind it one line per live
record by ascending id: {"collection", "id", "ordinal", "vector", "payload"}; id, raw f32 bytes and encoded payload in
hexadecimal. On any damage it prints nothing but one line "error: FILE at byte N: what" to stderr and exits with 1.
With --recover it gets by, as a recovery does, with one good slot of FLOOR and one good copy of the manifest and of an
activation record: a crash may tear the others.
"""

import json
import os
import re
import struct
import sys
import zlib

import numpy as np

METRICS = ["l2", "cosine", "dot"]
FRAMES_START, FRAME_BODY_MAX = 12_288, 1_048_544
BATCH_MAX, PART_MAX = 1 << 30, 64 << 20
MASK = (1 << 64) - 1
TOLERANT = "--recover" in sys.argv


class Damage(Exception):
    """What is wrong, in which file, at which byte."""


def crc(*parts):
    value = 0
    for part in parts:
        value = zlib.crc32(part, value)
    return value


def copies(attempts):
    """Results of the attempts that succeed, at least one; a failure counts as damage unless it is to be got by with."""
    good, bad = [], []
    for attempt in attempts:
        try:
            good.append(attempt())
        except Damage as damage:
            bad.append(damage)
    if bad and not (TOLERANT and good):
        raise bad[0]
    return good


class Fields:
    """Reads fields one behind the other; errors name file and offset."""

    def __init__(self, name, data, base=0):
        self.name, self.data, self.base, self.at = name, data, base, 0

    def fail(self, message, at=None):
        raise Damage(f"{self.name} at byte {self.base + (self.at if at is None else at)}: {message}")

    def check(self, good, message, at=None):
        if not good:
            self.fail(message, at)

    def take(self, length):
        self.check(self.at + length <= len(self.data), f"{length} bytes expected, {len(self.data) - self.at} are left")
        self.at += length
        return self.data[self.at - length : self.at]

    def unpack(self, layout):
        """Values of a struct layout; a single one bare."""
        values = struct.unpack("<" + layout, self.take(struct.calcsize("<" + layout)))
        return values if len(values) > 1 else values[0]

    def text(self, layout):
        at = self.at
        try:
            return str(self.take(self.unpack(layout)), "utf-8")
        except UnicodeDecodeError:
            self.fail("text is not UTF-8", at)

    def zeros(self, length):
        self.check(not any(self.take(length)), "reserved or padding byte is not zero", self.at - length)

    def finish(self):
        self.check(self.at == len(self.data), "bytes behind the last field")


# Section 3: identity header.


def identity(name, data, kind):
    """(database id, file number, file id) of the header at the start of `data`."""
    fields = Fields(name, data)
    fields.check(len(data) >= 64 and data[:8] == b"VRVT" + kind, f"not a varvite {kind.decode()} file")
    fields.check(struct.unpack_from("<I", data, 60)[0] == crc(data[:60]), "checksum of the identity header", 60)
    fields.at = 8
    major, _minor = fields.unpack("HH")
    fields.check(major == 1, f"format version {major}: written by a newer varvite", 8)
    fields.zeros(4)
    database, number, file = fields.take(16), fields.unpack("Q"), fields.take(16)
    fields.zeros(4)
    fields.check((number == 0) == (kind in (b"LOCK", b"FLOR")), "impossible file number", 32)
    fields.check(kind in (b"LOGF", b"SEGM") or not any(file), "file id where none belongs", 40)
    return database, number, file


# Section 5: FLOOR.


def read_slot(data, base):
    slot = data[base : base + 4096]
    fields = Fields("FLOOR", slot, base)
    database, _, _ = identity("FLOOR", slot, b"FLOR")
    fields.at = 64
    generation, floor, checksum = fields.unpack("QQI")
    fields.check(checksum == crc(slot[:80]), "checksum of the slot", 80)
    fields.zeros(4096 - 84)
    fields.check(generation % 2 == base // 4096, "generation stands in the wrong slot", 64)
    return generation, floor, database


def read_floor(data):
    """(database id, floor)"""
    fields = Fields("FLOOR", data)
    fields.check(len(data) == 8192, "length is not 8,192", len(data))
    slots = sorted(copies([lambda: read_slot(data, 0), lambda: read_slot(data, 4096)]))
    older, newer = slots[0], slots[-1]
    fields.check(older[2] == newer[2], "slots of different databases", 4096)
    fields.check(older[1] <= newer[1] and newer[0] - older[0] == len(slots) - 1, "slots contradict each other", 4096)
    return newer[2], newer[1]


# Section 6: manifest.


class Record:
    """Named values."""

    def __init__(self, **values):
        self.__dict__.update(values)


def read_schema(fields):
    dimension, metric, storage, reserved = fields.unpack("IBBH")
    fields.check(1 <= dimension <= 65_535 and metric < 3 and storage < 2 and reserved == 0, "impossible schema", fields.at - 8)
    return dimension, METRICS[metric]


def read_name(fields):
    at, name = fields.at, fields.text("H")
    fields.check(1 <= len(name.encode()) <= 255 and name not in (".", ".."), "impossible name", at)
    control = any(ord(char) < 32 or 127 <= ord(char) < 160 for char in name)
    fields.check(not control and "/" not in name and "\\" not in name, "impossible name", at)
    return name


def read_segment_entry(fields):
    names = "id file offset length footer_crc rows killed since kill_file kill_offset kill_length kill_crc".split()
    return Record(**dict(zip(names, fields.unpack("QQQQIIIQQQII"))))


def read_collection(fields):
    number = fields.unpack("I")
    dimension, metric = read_schema(fields)
    next_ordinal, name = fields.unpack("Q"), read_name(fields)
    runs = [[read_segment_entry(fields) for _ in range(fields.unpack("I"))] for _ in range(fields.unpack("I"))]
    return Record(id=number, dimension=dimension, metric=metric, next_ordinal=next_ordinal, name=name, runs=runs, records={})


def read_body(fields, database, number):
    flushed_through, next_file, next_segment, next_collection = fields.unpack("QQQI")
    logs = []
    for _ in range(fields.unpack("I")):
        log = Record(**dict(zip("number file state end chain".split(), fields.unpack("Q16sBQI"))))
        fields.check(log.state <= 1 and (log.state == 1 or log.end == log.chain == 0), "impossible log entry")
        fields.check(log.state == 0 or log.end >= FRAMES_START and log.end % 8 == 0, "impossible end of a log")
        logs.append(log)
    files = {}
    names = "number origin_database origin_number file length footer_crc".split()
    for _ in range(fields.unpack("I")):
        entry = Record(**dict(zip(names, fields.unpack("Q16sQ16sQI"))))
        fields.check(entry.number > max(files, default=0), "file numbers do not ascend")
        files[entry.number] = entry
    collections = [read_collection(fields) for _ in range(fields.unpack("I"))]
    fields.finish()
    numbers = list(files) + [log.number for log in logs]
    fields.check(len(set(numbers)) == len(numbers) and all(0 < n < next_file for n in numbers), "impossible file numbers")
    ids = [collection.id for collection in collections]
    fields.check(ids == sorted(set(ids)) and all(0 < n < next_collection for n in ids), "impossible collection ids")
    fields.check(len({collection.name for collection in collections}) == len(ids), "collection names are not unique")
    segments = [segment for collection in collections for run in collection.runs for segment in run]
    fields.check(len({s.id for s in segments}) == len(segments), "segment ids are not unique")
    fields.check(all(s.id < next_segment and s.rows > 0 and s.killed <= s.rows for s in segments), "impossible segment entry")
    for s in segments:
        fields.check(s.file in files and (s.kill_file in files or s.killed == 0), "a segment stands in an unknown file")
        unused = (s.since, s.kill_file, s.kill_offset, s.kill_length, s.kill_crc)
        fields.check(s.killed > 0 or not any(unused), "a kill block is named that kills nothing")
    return Record(
        database=database, number=number, flushed_through=flushed_through, next_collection=next_collection,
        logs=logs, files=files, collections=collections,
    )


def read_copy(name, data, base):
    copy = data[base : base + len(data) // 2]
    fields = Fields(name, copy, base)
    database, number, _ = identity(name, copy, b"MANI")
    fields.at = 64
    length, body_crc, lengths_crc = fields.unpack("QII")
    fields.check(crc(copy[64:76]) == lengths_crc, "checksum of the body length", 76)
    body = fields.take(length)
    fields.check(crc(body) == body_crc, "checksum of the body", 72)
    fields.check(len(copy) == (80 + length + 4095) // 4096 * 4096, "length of the copy")
    fields.zeros(len(copy) - fields.at)
    return copy, read_body(Fields(name, body, base + 80), database, number)


def read_manifest(name, data):
    good = copies([lambda: read_copy(name, data, 0), lambda: read_copy(name, data, len(data) // 2)])
    Fields(name, data).check(all(copy == good[0][0] for copy, _ in good), "the copies differ", len(data) // 2)
    return good[0][1]


# Section 7: logs.


def read_activation(name, data, base, file):
    """The record at `base`, None if there is none."""
    record = data[base : base + 64]
    fields = Fields(name, record, base)
    fields.check(len(record) == 64, "file is too short for its activation record", len(record))
    if not any(record):
        return None
    magic, log, predecessor, end, chain = fields.unpack("8sQQQI")
    fields.check(magic == b"VRVTACTV", "not an activation record", 0)
    fields.check(struct.unpack_from("<I", record, 60)[0] == crc(file, record[:60]), "checksum of the activation record", 60)
    fields.zeros(4)
    first = fields.unpack("Q")
    fields.zeros(12)
    fields.check(predecessor > 0 or end == chain == 0, "end of no predecessor", 24)
    return Record(log=log, predecessor=predecessor, end=end, chain=chain, first=first)


class Log:
    """One named log: identity and activation checked, frames not yet."""

    def __init__(self, directory, entry, database):
        self.entry, self.name = entry, f"log-{entry.number:08}"
        self.data = data = load(directory, self.name)
        fields = Fields(self.name, data)
        found = identity(self.name, data, b"LOGF")
        fields.check(found == (database, entry.number, entry.file), "not the log that the manifest names")
        for start, end in ((64, 4096), (4160, 8192), (8256, FRAMES_START)):
            fields.at = start
            fields.zeros(end - start)
        self.proven = max((header.durable for header in self.headers()), default=FRAMES_START)
        records = copies([lambda at=at: read_activation(self.name, data, at, entry.file) for at in (4096, 8192)])
        valid = [record for record in records if record]
        self.activation = valid[0] if valid else None
        fields.check(not valid or vars(valid[0]) == vars(valid[-1]), "the activation records differ", 4096)
        fields.check(not valid or valid[0].log == entry.number, "activation record of another log", 4096)
        lost = self.proven > FRAMES_START and len(valid) < (1 if TOLERANT else 2)
        fields.check(not lost, "an activation record is lost", 4096)

    def headers(self):
        """Every valid frame header at any multiple of 8."""
        usable = len(self.data) // 8 * 8
        words = np.frombuffer(self.data[FRAMES_START:usable], "<u4").reshape(-1, 2)
        likely = (words[:, 0] >= 1) & (words[:, 0] <= FRAME_BODY_MAX) & (words[:, 1] <= 3)
        found = (self.header(FRAMES_START + 8 * int(index)) for index in np.flatnonzero(likely))
        return [header for header in found if header]

    def header(self, at):
        """The frame header at an offset, None if it is invalid."""
        if at + 32 > len(self.data):
            return None
        length, marks, reserved, sequence, durable, body_crc, checksum = struct.unpack_from("<IB3sQQII", self.data, at)
        if not (1 <= length <= FRAME_BODY_MAX and marks <= 3 and reserved == bytes(3) and FRAMES_START <= durable <= at):
            return None
        if checksum != crc(self.entry.file, struct.pack("<Q", at), self.data[at : at + 28]):
            return None
        end = (at + 32 + length + 7) // 8 * 8
        return Record(length=length, first=bool(marks & 1), last=bool(marks & 2), sequence=sequence, durable=durable, body_crc=body_crc, end=end)

    def body(self, at, header):
        """The body of a frame, None if it is damaged."""
        body = self.data[at + 32 : at + 32 + header.length]
        padding = self.data[at + 32 + header.length : header.end]
        whole = len(body) == header.length and crc(body) == header.body_crc
        if whole:
            Fields(self.name, self.data).check(not any(padding), "padding of a frame is not zero", at + 32 + header.length)
        return body if whole else None

    def batches(self, last, flushed_through, limit):
        """[(sequence, bytes)] up to `limit` = (end, chain) or, with None, to recovery's cut; `last` is the sequence before."""
        fields, at, chain = Fields(self.name, self.data), FRAMES_START, 0
        found, pieces, sequence = [], [], None
        while limit is None or at < limit[0]:
            header = self.header(at)
            body = self.body(at, header) if header else None
            follows = False
            if body is not None and pieces:
                follows = not header.first and header.sequence == sequence
            elif body is not None:
                follows = header.first and header.sequence > last and (header.sequence - 1 <= max(last, flushed_through))
            if not follows:
                fields.check(limit is None and at >= self.proven, "damaged frame or break in the sequences", at)
                break
            pieces.append(body)
            sequence = header.sequence
            chain = zlib.crc32(self.data[at + 28 : at + 32], chain)
            at = header.end
            if header.last:
                fields.check(sum(map(len, pieces)) <= BATCH_MAX, "batch is too long", at)
                found.append((sequence, b"".join(pieces)))
                pieces, last = [], sequence
        if limit is not None:
            fields.check((at, chain) == limit and not pieces, "the log does not end as recorded", at)
        return found, last


def read_logs(directory, manifest):
    """Every batch that recovery would find, in order, as (log name, sequence, bytes)."""
    logs = [Log(directory, entry, manifest.database) for entry in manifest.logs]
    used = [log for log in logs if log.activation]
    for log in logs:
        sealed_spare = log.entry.state == 1 and not log.activation
        Fields(log.name, b"").check(not sealed_spare, "a sealed log without activation", 4096)
    if not logs:
        return []
    Fields(logs[0].name, b"").check(bool(logs[0].activation), "the first log has no activation record", 4096)
    for before, log in zip(logs, logs[1:]):
        is_lost = before.entry.state == 1 and not log.activation
        Fields(log.name, b"").check(not is_lost, "a log behind a sealed one has no activation record", 4096)
    first = used[0].activation.first
    Fields(used[0].name, b"").check(first <= manifest.flushed_through + 1, "batches before the first log are lost", 4136)
    last, found = first - 1, []
    for log, successor in zip(used, used[1:] + [None]):
        limit = (log.entry.end, log.entry.chain) if log.entry.state == 1 else None
        if log is not used[0]:
            gap = log.activation.first > last and log.activation.first - 1 <= max(last, manifest.flushed_through)
            Fields(log.name, b"").check(gap, "first sequence does not follow the predecessor's last", 4136)
            last = log.activation.first - 1
        if successor:
            claim = (successor.activation.end, successor.activation.chain)
            named = successor.activation.predecessor == log.entry.number and limit in (None, claim)
            Fields(successor.name, b"").check(named, "wrong predecessor", 4112)
            limit = claim
        batches, last = log.batches(last, manifest.flushed_through, limit)
        found += [(log.name, sequence, data) for sequence, data in batches]
    return found


# Section 8: segment files.

P1, P2, P3, P4, P5 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5


def rotl(value, bits):
    return ((value << bits) | (value >> (64 - bits))) & MASK


def xxh64_round(lane, word):
    return rotl((lane + word * P2) & MASK, 31) * P1 & MASK


def xxh64(data, seed):
    length, at = len(data), 0
    if length >= 32:
        lanes = [(seed + P1 + P2) & MASK, (seed + P2) & MASK, seed, (seed - P1) & MASK]
        while at + 32 <= length:
            lanes = [xxh64_round(lane, word) for lane, word in zip(lanes, struct.unpack_from("<4Q", data, at))]
            at += 32
        value = sum(rotl(lane, bits) for lane, bits in zip(lanes, (1, 7, 12, 18))) & MASK
        for lane in lanes:
            value = ((value ^ xxh64_round(0, lane)) * P1 + P4) & MASK
    else:
        value = (seed + P5) & MASK
    value = (value + length) & MASK
    while at + 8 <= length:
        value = (rotl(value ^ xxh64_round(0, struct.unpack_from("<Q", data, at)[0]), 27) * P1 + P4) & MASK
        at += 8
    if at + 4 <= length:
        value = (rotl(value ^ (struct.unpack_from("<I", data, at)[0] * P1 & MASK), 23) * P2 + P3) & MASK
        at += 4
    for byte in data[at:]:
        value = rotl(value ^ (byte * P5 & MASK), 11) * P1 & MASK
    value = (value ^ (value >> 33)) * P2 & MASK
    value = (value ^ (value >> 29)) * P3 & MASK
    return value ^ (value >> 32)


def lz4_length(fields, length):
    """A length of 15 goes on in further bytes."""
    more = length == 15
    while more:
        byte = fields.unpack("B")
        length, more = length + byte, byte == 255
    return length


def lz4_block(fields, plain_length):
    """The plain bytes of a compressed block."""
    out = bytearray()
    while True:
        token = fields.unpack("B")
        out += fields.take(lz4_length(fields, token >> 4))
        if fields.at == len(fields.data):
            break
        distance = fields.unpack("H")
        fields.check(1 <= distance <= len(out), "match in front of the block", fields.at - 2)
        length = lz4_length(fields, token & 15) + 4
        fields.check(len(out) + length <= plain_length, "block is longer than its plain length")
        for start in range(0, length, distance):
            tail = out[-distance:]
            out += tail[: length - start]
    fields.check(len(out) == plain_length, f"{len(out)} plain bytes, not {plain_length}")
    return bytes(out)


class Sections:
    """Footer of one segment and its sections by kind, every block checked."""

    def __init__(self, name, data, base):
        self.whole = Fields(name, data, base)
        self.whole.check(len(data) >= 8, "segment is too short")
        length, self.footer_crc = struct.unpack("<II", data[-8:])
        self.whole.check(64 <= length <= len(data), "impossible length of the segment footer", len(data) - 8)
        footer = Fields(name, data[len(data) - length :], base + len(data) - length)
        footer.check(crc(footer.data[:-4]) == self.footer_crc, "checksum of the segment footer", length - 4)
        names = "magic count id dimension stride rows group_rows max_sequence seed checksums table_crc".split()
        self.footer = head = Record(**dict(zip(names, footer.unpack("4sIQIIIIQQII"))))
        footer.check(head.magic == b"SEGF" and head.rows > 0 and 1 <= head.dimension <= 65_535, "impossible segment footer", 0)
        entries = [footer.unpack("HHIQQII") for _ in range(head.count)]
        footer.check(footer.unpack("II") == (length, self.footer_crc), "footer length", 0)
        footer.finish()
        self.by_kind, used, last = {}, 0, 0
        for kind, flags, block_bytes, offset, size, first, reserved in entries:
            known = 1 <= kind <= 11
            footer.check(known or not flags & 1, f"required section of unknown kind {kind}", 0)
            # Codes and their factors stand behind the rows.
            place = {9: 1.2, 10: 1.4, 11: 1.6}.get(kind, kind)
            footer.check(flags <= 1 and (flags == (kind <= 8) or not known), "wrongly marked section", 0)
            footer.check(place > last, "impossible section", 0)
            footer.check(offset % 64 == 0 and offset >= used and size > 0 and reserved == 0, "impossible section", 0)
            self.whole.at = used
            self.whole.zeros(offset - used)
            content = self.whole.take(size)
            self.by_kind[kind] = Fields(name, content, base + offset)
            used, last = offset + size, place
        self.whole.at = used
        self.whole.zeros(len(data) - length - used)
        self.check_blocks(entries, footer)

    def check_blocks(self, entries, footer):
        head = self.footer
        table = self.by_kind.get(8)
        footer.check(table is not None and len(table.data) == 4 * head.checksums, "no checksum table", 0)
        table.check(crc(table.data) == head.table_crc, "checksum of the checksum table", 0)
        sums = np.frombuffer(table.data, "<u4")
        for kind, _, block_bytes, _, size, first, _ in entries:
            expected = {1: head.group_rows * head.stride, 8: 0}.get(kind, 4096)
            footer.check(block_bytes == expected or kind > 10, f"block size of section {kind}", 0)
            if block_bytes == 0:
                continue
            fields = self.by_kind[kind]
            blocks = range(0, size, block_bytes)
            footer.check(first + len(blocks) <= len(sums), f"section {kind} has no checksums", 0)
            for index, at in enumerate(blocks):
                good = crc(fields.data[at : at + block_bytes]) == sums[first + index]
                fields.check(good, f"checksum of section {kind}", at)

    def section(self, kind, size=None):
        self.whole.check(kind in self.by_kind, f"section {kind} is missing", 0)
        fields = self.by_kind[kind]
        fields.check(size is None or len(fields.data) == size, f"length of section {kind}", 0)
        return fields


def ceil_div(value, by):
    return -(-value // by)


def split_mix(state, count):
    words = []
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        word = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        word = (word ^ word >> 27) * 0x94D049BB133111EB % 2**64
        words.append(word ^ word >> 31)
    return words


def rotate(rows):
    """The matrix R of section 8.1, applied to each row."""
    dimension = rows.shape[1]
    block = 1 << (dimension.bit_length() - 1)
    rows = rows.copy()
    for state, start in (1, 0), (2, dimension - block):
        words = split_mix(state, ceil_div(block, 64))
        signs = np.array([-1.0 if words[i // 64] >> (i % 64) & 1 else 1.0 for i in range(block)])
        part = rows[:, start : start + block] * signs / block**0.5
        width = 1
        while width < block:
            halves = part.reshape(len(rows), -1, 2, width)
            part = np.stack([halves[:, :, 0] + halves[:, :, 1], halves[:, :, 0] - halves[:, :, 1]], axis=2).reshape(len(rows), block)
            width *= 2
        rows[:, start : start + block] = part
    return rows


class Segment:
    """All rows of one segment; rows, ids, ordinals and payloads by row number."""

    def __init__(self, name, data, base):
        sections = Sections(name, data, base)
        self.footer = head = sections.footer
        self.footer_crc = sections.footer_crc
        self.whole = sections.whole
        packed = head.dimension * 4
        padded = ceil_div(packed, 64) * 64
        stride = padded if padded * 100 <= packed * 103 else packed
        self.whole.check(head.stride == stride, "impossible stride", 0)
        self.whole.check(head.group_rows == ceil_div(4096, stride), "impossible row group", 0)
        rows = sections.section(1, head.rows * stride)
        table = np.frombuffer(rows.data, np.uint8).reshape(head.rows, stride)
        rows.check(not table[:, packed:].any(), "padding of a row is not zero", 0)
        self.vectors = [row[:packed].tobytes() for row in table]
        self.ordinals = np.frombuffer(sections.section(2, 8 * head.rows).data, "<u8").tolist()
        self.ids = self.read_ids(sections)
        self.check_hash(sections.section(5, 64 * max(1, ceil_div(head.rows, 7))))
        self.payloads = self.read_payloads(sections)
        self.check_codes(sections, table[:, :packed])

    def check_codes(self, sections, rows):
        """What section 8.1 promises of codes and factors, by a matrix in float64."""
        head = self.footer
        if 9 not in sections.by_kind:
            self.whole.check(not {10, 11} & set(sections.by_kind), "factors or lower codes without upper ones", 0)
            return
        half_bytes = ceil_div(head.dimension, 2)
        stored = sections.section(9, head.rows * half_bytes)
        lower = sections.section(11, head.rows * half_bytes)
        upper, lower = (self.read_half(half, half_bytes) for half in (stored, lower))
        shorts = np.frombuffer(sections.section(10, 10 * head.rows).data, "<u2").reshape(head.rows, 5).astype(np.uint32)
        norm = np.ascontiguousarray(shorts[:, 0] | shorts[:, 1] << 16).view("<f4").astype(np.float64)
        scale, residual, upper_residual = (np.ascontiguousarray(shorts[:, at] << 16).view("<f4").astype(np.float64) for at in (2, 3, 4))
        with np.errstate(all="ignore"):
            exact = np.ascontiguousarray(rows).view("<f4").astype(np.float64)
            rotated = rotate(exact)
            known = np.isfinite(residual)
            codes, middles = 16.0 * upper + lower - 128, 16.0 * upper + 7.5 - 128
            size = np.linalg.norm(exact, axis=1)
            greatest = np.abs(rotated).max(axis=1)
            nothing = [upper[~known], lower[~known], scale[~known], norm[~known], np.isfinite(upper_residual)[~known]]
            stored.check(not any(part.any() for part in nothing), "code of which nothing is known", 0)
            tiny_or_huge = ~((greatest > 2.0**-49) & (greatest < 2.0**49))
            stored.check(tiny_or_huge[~known].all(), "ordinary row without a code", 0)
            for values, bound in ((codes, residual), (middles, upper_residual)):
                apart = np.linalg.norm(rotated - scale[:, None] * values, axis=1)
                stored.check((apart <= bound)[known].all(), "residual that is too small", 0)
                stored.check((bound <= apart * 1.01 + size * 1e-5 + 1e-29)[known].all(), "residual that is too great", 0)
            stored.check((np.abs(np.abs(codes).max(axis=1) - 126.5) <= 0.5)[known].all(), "scale of another size", 0)
            stored.check((np.abs(norm - size) <= size * 1e-6)[known].all(), "norm of another row", 0)

    def read_half(self, half, half_bytes):
        """Elements of one half of all codes."""
        packed = np.frombuffer(half.data, np.uint8).reshape(self.footer.rows, half_bytes)
        elements = np.stack([packed & 15, packed >> 4], axis=2).reshape(self.footer.rows, -1)
        half.check(not elements[:, self.footer.dimension :].any(), "elements behind the last", 0)
        return elements[:, : self.footer.dimension]

    def read_ids(self, sections):
        blocks = ceil_div(self.footer.rows, 16)
        offsets = np.frombuffer(sections.section(3, 4 * (blocks + 1)).data, "<u4").tolist()
        fields, ids = sections.section(4), []
        fields.check(offsets[-1] == len(fields.data), "length of the id blocks", 0)
        for row in range(self.footer.rows):
            at, previous = fields.at, ids[-1] if ids else b""
            if row % 16 == 0:
                fields.check(at == offsets[row // 16], "offset of an id block")
            before = b"" if row % 16 == 0 else previous
            shared, rest_length = fields.unpack("HH")
            fields.check(shared <= len(before), "impossible prefix", at)
            rest = fields.take(rest_length)
            found = before[:shared] + rest
            longest = os.path.commonprefix([before, found])
            fields.check(len(longest) == shared, "prefix is not the longest", at)
            fields.check(len(found) <= 65_535 and found > previous, "ids do not ascend", at)
            ids.append(found)
        fields.finish()
        return ids

    def check_hash(self, fields):
        """Looks up every id, then compares with the hash built from scratch."""
        count = len(fields.data) // 64
        buckets = [([0] * 10, [0] * 10, [0, 0]) for _ in range(count)]
        for row, key in enumerate(self.ids):
            value = xxh64(key, self.footer.seed)
            home, fingerprint = ((value & 0xFFFFFFFF) * count) >> 32, value >> 48
            fields.check(self.look_up(fields, home, count, fingerprint, key) == row, f"row {row} is not found", home * 64)
            at = home
            while buckets[at][2][0] == 10:
                buckets[at][2][1] = 1
                at = (at + 1) % count
            fingerprints, rows, (used, _) = buckets[at]
            fingerprints[used], rows[used] = fingerprint, row
            buckets[at][2][0] += 1
        rebuilt = b"".join(struct.pack("<10H10IBBH", *bucket[0], *bucket[1], *bucket[2], 0) for bucket in buckets)
        fields.check(rebuilt == fields.data, "hash is not the one of these ids", 0)

    def look_up(self, fields, at, count, fingerprint, key):
        for _ in range(count):
            slots = struct.unpack_from("<10H10IBB", fields.data, at * 64)
            fields.check(slots[20] <= 10, "impossible bucket", at * 64)
            for slot in range(slots[20]):
                row = slots[10 + slot]
                if slots[slot] == fingerprint and row < len(self.ids) and self.ids[row] == key:
                    return row
            if not slots[21]:
                return None
            at = (at + 1) % count
        return None

    def read_payloads(self, sections):
        payloads = [b""] * self.footer.rows
        if 6 not in sections.by_kind:
            self.whole.check(7 not in sections.by_kind, "payload without an index", 0)
            return payloads
        index, stored, last = sections.section(6), sections.section(7), -1
        while index.at < len(index.data):
            first, reserved, offset, stored_length, plain_length = index.unpack("IIQII")
            index.check(reserved == 0 and offset == stored.at, "impossible payload block", index.at - 24)
            block = Fields(stored.name, stored.take(stored_length), stored.base + offset)
            if plain_length >> 31:
                plain_length &= 0x7FFFFFFF
                block = Fields(block.name + " (decompressed)", lz4_block(block, plain_length))
            block.check(len(block.data) == plain_length, "plain length of a payload block", 0)
            block.check(struct.unpack_from("<I", block.data + bytes(4))[0] == first, "first row of a payload block", 0)
            while block.at < len(block.data):
                row, length = block.unpack("II")
                block.check(last < row < self.footer.rows and length > 0, "rows with a payload do not ascend", block.at - 8)
                check_payload(Fields(block.name, block.take(length), block.base + block.at - length))
                payloads[row], last = block.data[block.at - length : block.at], row
        stored.finish()
        return payloads


def check_values(fields, kind):
    count = 1
    if kind > 4:
        kind, count = kind - 4, fields.unpack("I")
    for _ in range(count):
        if kind == 1:
            fields.text("I")
        elif kind == 4:
            fields.check(fields.unpack("B") <= 1, "no truth value")
        else:
            fields.check(kind in (2, 3), "unknown type of a value")
            fields.take(8)


def check_payload(fields):
    """Section 9; a payload that is there is not empty."""
    flags = fields.unpack("B")
    fields.check(1 <= flags <= 7, "impossible payload flags", 0)
    if flags & 1:
        end = fields.unpack("I")
        fields.check(end <= PART_MAX, "metadata is too long")
        end += fields.at
        count, last = fields.unpack("H"), b""
        fields.check(count > 0, "empty metadata")
        for _ in range(count):
            key = fields.text("H").encode()
            fields.check(key > last, "metadata keys do not ascend")
            last = key
            check_values(fields, fields.unpack("B"))
        fields.check(fields.at == end, "length of the metadata")
    for bit, longest in ((2, PART_MAX), (4, 65_535)):
        if flags & bit:
            fields.check(len(fields.text("I").encode()) <= longest, "document or uri is too long")
    fields.finish()


def read_kill_block(fields):
    """(victim, its rows, dead rows) of section 8.2."""
    victim, rows, form, count, reserved = fields.unpack("QIIII")
    bitmap = ceil_div(rows, 8)
    fields.check(0 < count <= rows and reserved == 0 and form == int(4 * count > bitmap), "impossible kill block", 0)
    if form == 0:
        dead = list(struct.unpack(f"<{count}I", fields.take(4 * count)))
    else:
        bits = np.unpackbits(np.frombuffer(fields.take(bitmap), np.uint8), bitorder="little")
        dead = np.flatnonzero(bits).tolist()
    fields.finish()
    fields.check(len(dead) == count and dead == sorted(set(dead)) and dead[-1] < rows, "impossible dead rows", 24)
    return victim, rows, dead


class SegmentFile:
    """Everything in one segment file: segments and kill blocks by their offset."""

    def __init__(self, directory, entry):
        name = f"seg-{entry.number:08}"
        data = load(directory, name)
        whole = Fields(name, data)
        whole.check(len(data) == entry.length, f"{len(data)} bytes, not {entry.length} as the manifest says", len(data))
        found = identity(name, data, b"SEGM")
        whole.check(found == (entry.origin_database, entry.origin_number, entry.file), "not the file that the manifest names")
        length, footer_crc, magic = struct.unpack("<II8s", data[-16:])
        whole.check(magic == b"VRVTSEGE" and 40 <= length <= len(data) - 64, "end of a segment file is missing", len(data) - 16)
        start = len(data) - length
        footer = Fields(name, data[start:], start)
        whole.check(start % 8 == 0 and crc(footer.data[:-12]) == footer_crc, "checksum of the file footer", len(data) - 12)
        whole.check(footer_crc == entry.footer_crc, "footer is not the one that the manifest names", len(data) - 12)
        segments = [footer.unpack("QQQI") for _ in range(footer.unpack("I"))]
        kills = [footer.unpack("QQII") for _ in range(footer.unpack("I"))]
        footer.check(footer.take(16) == entry.file and footer.at == length - 16, "impossible file footer")
        whole.at = 64
        for _, offset, size, _ in sorted(segments + kills, key=lambda place: place[1:3]):
            whole.check(offset % 64 == 0 and offset >= whole.at and offset + size <= start, "impossible place", offset)
            whole.zeros(offset - whole.at)
            whole.take(size)
        whole.zeros(start - whole.at)
        self.segments, self.kills = {}, {}
        for number, offset, size, checksum in segments:
            segment = Segment(name, data[offset : offset + size], offset)
            whole.check(segment.footer.id == number and segment.footer_crc == checksum, "not the segment that the footer names", offset)
            self.segments[offset] = ((number, offset, size, checksum), segment)
        for victim, offset, size, checksum in kills:
            block = data[offset : offset + size]
            whole.check(crc(block) == checksum, "checksum of a kill block", offset)
            kill = read_kill_block(Fields(name, block, offset))
            whole.check(kill[0] == victim, "victim of a kill block", offset)
            self.kills[offset] = ((victim, offset, size, checksum), kill)


# Sections 2 and 10: the whole database.


def load(directory, name):
    try:
        with open(os.path.join(directory, name), "rb") as file:
            return file.read()
    except OSError as error:
        raise Damage(f"{name} at byte 0: {error.strerror}") from error


def load_segments(name, manifest, files):
    """Fills the records of every collection with the live rows of its segments."""
    for collection in manifest.collections:
        for entry in (entry for run in collection.runs for entry in run):
            where = Fields(f"{name}: segment {entry.id}", b"")
            place, segment = files[entry.file].segments.get(entry.offset, (None, None))
            where.check(place == (entry.id, entry.offset, entry.length, entry.footer_crc), "is not where the manifest says")
            head = segment.footer
            where.check(head.rows == entry.rows and head.dimension == collection.dimension, "has other rows or dimension")
            where.check(head.max_sequence <= manifest.flushed_through, "is newer than the manifest")
            dead = set()
            if entry.killed:
                place, kill = files[entry.kill_file].kills.get(entry.kill_offset, (None, None))
                expected = (entry.id, entry.kill_offset, entry.kill_length, entry.kill_crc)
                where.check(place == expected, "its kill block is not where the manifest says")
                dead = set(kill[2])
                where.check(kill[1] == entry.rows and len(dead) == entry.killed, "its kill block is of other rows")
            for row in set(range(head.rows)) - dead:
                key = segment.ids[row]
                where.check(key not in collection.records, f"second live copy of id {key.hex()}")
                where.check(segment.ordinals[row] < collection.next_ordinal, "ordinal above the collection's")
                collection.records[key] = (segment.ordinals[row], segment.vectors[row], segment.payloads[row])
        for run in collection.runs:
            ranges = [files[entry.file].segments[entry.offset][1].ids for entry in run]
            good = all(left[-1] < right[0] for left, right in zip(ranges, ranges[1:]))
            Fields(name, b"").check(good, f"a run of collection {collection.id} does not ascend")


def replay(collections, next_collection, name, data):
    """Applies one batch to {id: collection}; returns the next collection id."""
    fields = Fields(name, data)

    def existing():
        number = fields.unpack("I")
        fields.check(number in collections, f"collection {number} does not exist", fields.at - 4)
        return collections[number]

    fields.check(len(data) > 0, "empty batch")
    while fields.at < len(data):
        at, kind = fields.at, fields.unpack("B")
        fields.check(1 <= kind <= 5, f"unknown operation {kind}", at)
        if kind == 1:
            number, (dimension, metric), title = fields.unpack("I"), read_schema(fields), read_name(fields)
            fields.check(number >= next_collection, "collection id is used again", at)
            next_collection = number + 1
            collections[number] = Record(id=number, dimension=dimension, metric=metric, next_ordinal=0, name=title, records={})
        elif kind == 2:
            del collections[existing().id]
        elif kind == 3:
            collection = existing()
            collection.name = read_name(fields)
        elif kind == 4:
            collection = existing()
            flags, ordinal, key, payload = *fields.unpack("BQ"), fields.take(fields.unpack("H")), fields.take(fields.unpack("I"))
            fields.check(flags <= 1 and len(key) > 0 and flags == (key in collection.records), "replaces what is not there, or not", at)
            fields.check(flags == 1 or ordinal >= collection.next_ordinal, "ordinal is used again", at)
            if payload:
                check_payload(Fields(fields.name, payload, fields.at - len(payload)))
            collection.records[key] = (ordinal, fields.take(4 * collection.dimension), payload)
        else:
            collection, key = existing(), fields.take(fields.unpack("H"))
            fields.check(key in collection.records, "deletes what is not there", at)
            del collection.records[key]
        names = [collection.name for collection in collections.values()]
        fields.check(len(set(names)) == len(names), "name of a collection is used twice", at)
    return next_collection


def read_database(directory):
    """Collections by id, as a recovery would see them."""
    database, floor = read_floor(load(directory, "FLOOR"))
    numbers = [re.fullmatch(r"MANIFEST-(\d{8}|[1-9]\d{8,19})", name) for name in os.listdir(directory)]
    newest = max((int(match[1]) for match in numbers if match), default=0)
    if newest == 0 and floor == 0:
        raise Damage("FLOOR at byte 72: unfinished creation, there is no database yet")
    if newest < floor:
        raise Damage(f"FLOOR at byte 72: manifest {floor} was durable, the newest is {newest}")
    name = f"MANIFEST-{newest:08}"
    manifest = read_manifest(name, load(directory, name))
    Fields(name, b"").check(manifest.database == database, "manifest of another database", 16)
    Fields(name, b"").check(manifest.number == newest, "manifest of another number", 32)
    files = {number: SegmentFile(directory, entry) for number, entry in manifest.files.items()}
    load_segments(name, manifest, files)
    collections = {collection.id: collection for collection in manifest.collections}
    next_collection = manifest.next_collection
    for log, sequence, data in read_logs(directory, manifest):
        if sequence > manifest.flushed_through:
            next_collection = replay(collections, next_collection, f"{log}: batch {sequence}", data)
    for collection in collections.values():
        ordinals = {ordinal for ordinal, _, _ in collection.records.values()}
        Fields(name, b"").check(len(ordinals) == len(collection.records), f"collection {collection.id} repeats an ordinal")
    return [collection for _, collection in sorted(collections.items())]


def main():
    arguments = [argument for argument in sys.argv[1:] if argument != "--recover"]
    if len(arguments) != 1:
        sys.exit("usage: independent_reader.py [--recover] DIRECTORY")
    try:
        collections = read_database(arguments[0])
    except Damage as damage:
        sys.exit(f"error: {damage}")

    def line(**values):
        sys.stdout.write(json.dumps(values, separators=(",", ":"), ensure_ascii=False) + "\n")

    sys.stdout.reconfigure(encoding="utf-8")
    for c in collections:
        line(collection=c.name, dimension=c.dimension, metric=c.metric, count=len(c.records))
        for key, (ordinal, vector, payload) in sorted(c.records.items()):
            line(collection=c.name, id=key.hex(), ordinal=ordinal, vector=vector.hex(), payload=payload.hex())


if __name__ == "__main__":
    main()
