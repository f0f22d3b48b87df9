"""Counts the events of one day by type, from its hours in the lake: type,events."""

import argparse
import collections
import gzip
import json
import pathlib

arguments = argparse.ArgumentParser()
for name in ("--lake", "--day", "--out"):
    arguments.add_argument(name, required=True)
given = arguments.parse_args()

counts = collections.Counter()
# Some hours were never published: what is there is counted.
for hour in sorted(pathlib.Path(given.lake, "events", *given.day.split("-")).glob("*.json.gz")):
    with gzip.open(hour, "rt", encoding="utf-8") as lines:
        counts.update(json.loads(line)["type"] for line in lines)

with open(given.out, "w", encoding="utf-8") as out:
    out.write("type,events\n")
    out.writelines(f"{kind},{number}\n" for kind, number in sorted(counts.items()))
