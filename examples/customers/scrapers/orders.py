"""Fetches what the CRM has of a customer, day by day: one call answers with a Parquet file for each entity that changed that day.

Their names and their number are known only then, so each day's item is a set: whatever lies in the folder `out` of its line becomes a part
of it, and a day without changes is told as `empty`. Needs nothing but Python.
"""

import base64
import json
import os
import pathlib
import sys
import urllib.error
import urllib.request

SOURCE_DOWN = 69
tokens = json.loads(os.environ["CRM_TOKENS"])


def tell(item, outcome, message=None):
    print(json.dumps({"adce": 1, "key": item["key"], "outcome": outcome, "message": message}), flush=True)


def collect(item):
    customer, day = item["values"]["customer_id"], item["values"]["day"]
    # One permit a request: the gateway knows what this customer and the whole API may be asked.
    request = urllib.request.Request(f"{os.environ['ADCE_GATEWAY']}/crm/v1/customers/{customer}/changes?day={day}")
    request.add_header("Authorization", f"Bearer {tokens[customer]}")
    with urllib.request.urlopen(request, timeout=120) as answer:
        entities = json.load(answer)["entities"]
    for entity in entities:
        part = pathlib.Path(item["out"], f"part-{entity['name']}.parquet")
        part.write_bytes(base64.b64decode(entity["parquet"], validate=True))
    tell(item, "done" if entities else "empty")


with open(os.environ["ADCE_ITEMS"], encoding="utf-8") as lines:
    for item in map(json.loads, lines):
        try:
            collect(item)
        except urllib.error.HTTPError as error:
            if error.code == 404:
                tell(item, "absent")
            elif error.code in (429, 500, 502, 503, 504):
                print(f"{error.code} for {item['key']}", file=sys.stderr)
                sys.exit(SOURCE_DOWN)
            else:
                tell(item, "failed", f"answered {error.code}")
        except (KeyError, ValueError) as error:
            tell(item, "failed", f"{type(error).__name__}: {error}")
