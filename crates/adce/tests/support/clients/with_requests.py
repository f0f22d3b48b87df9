import sys
from concurrent.futures import ThreadPoolExecutor

import requests

url, count, out = sys.argv[1], int(sys.argv[2]), sys.argv[3]
with requests.Session() as session, ThreadPoolExecutor(4) as pool:
    answers = list(pool.map(lambda number: session.get(f"{url}/{number}"), range(count)))
[answer.raise_for_status() for answer in answers]
open(out, "w").write("".join(answer.text for answer in answers))
