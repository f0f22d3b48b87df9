"""An ordinary scraper, for the acceptance run: fetches what its items file names, through the gateway's base URL.

It opens one connection after the other, knows nothing of limits, and writes each answer where it is told to.
"""

import json
import os
import sys
import urllib.request

gateway = os.environ["ADCE_GATEWAY"]
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
failed = 0
with open(os.environ["ADCE_ITEMS"], encoding="utf-8") as items:
    for line in items:
        item = json.loads(line)
        try:
            with opener.open(f"{gateway}/stats/{item['key']}", timeout=120) as answer:
                body = answer.read()
            with open(item["out"], "wb") as out:
                out.write(body)
        except OSError as error:
            failed += 1
            print(json.dumps({"adce": 1, "key": item["key"], "outcome": "failed", "message": str(error)}), flush=True)
sys.exit(1 if failed else 0)
