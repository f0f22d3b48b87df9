import ssl
import sys
from concurrent.futures import ThreadPoolExecutor
from urllib.request import HTTPSHandler, build_opener

url, count, out = sys.argv[1], int(sys.argv[2]), sys.argv[3]
context = ssl.create_default_context()
# What Python does by itself from 3.13 on.
context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
opener = build_opener(HTTPSHandler(context=context))
with ThreadPoolExecutor(4) as pool:
    texts = list(pool.map(lambda number: opener.open(f"{url}/{number}").read(), range(count)))
open(out, "wb").write(b"".join(texts))
