import http.client
import os
import sys
from urllib.parse import urlsplit

count, out = int(sys.argv[2]), sys.argv[3]
# It reads no variable of any proxy: it is sent to the source's base URL at the gateway.
gateway = urlsplit(os.environ["ADCE_GATEWAY"] + "/up")
connection = http.client.HTTPConnection(gateway.netloc)
with open(out, "wb") as pages:
    for number in range(count):
        connection.request("GET", f"{gateway.path}/{number}")
        answer = connection.getresponse()
        if answer.status != 200:
            sys.exit(answer.status)
        pages.write(answer.read())
