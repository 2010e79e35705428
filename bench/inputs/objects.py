"""Builds a large list of objects, writes it as JSON, parses that, changes it; prints a digest."""
import hashlib
import json
import sys

COUNT = int(sys.argv[1])


def record(number):
    return {
        "id": number, "name": f"customer number {number}", "active": number % 3 == 0,
        "balance": number * 1.25, "tags": [f"tag{number % index}" for index in range(2, 9)],
        "address": {"street": f"{number % 977} Long Street", "town": f"Town {number % 53}",
                    "lines": ["x" * (number % 40), str(number) * (number % 7)]},
    }


digest = hashlib.sha256()
records = [record(number) for number in range(COUNT)]
for turn in range(2):
    text = json.dumps(records, sort_keys=True)
    digest.update(text.encode())
    parsed = json.loads(text)
    del text
    # Half of the old objects stay among the new ones.
    records = [new if place % 2 else old
               for place, (old, new) in enumerate(zip(records, parsed))]
    by_town = {}
    for entry in records:
        by_town.setdefault(entry["address"]["town"], []).append(entry["name"] + str(turn))
    digest.update(repr(sorted((town, len(names)) for town, names in by_town.items())).encode())
print(digest.hexdigest())
