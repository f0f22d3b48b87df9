"""Bursts of pages by four threads, and a pause."""

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import requests

url, pages, pause = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
asked = os.open(sys.argv[4], os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def get(session, page):
    os.write(asked, f"{time.time()} {url}/{page}\n".encode())
    session.get(f"{url}/{page}")


with requests.Session() as session, ThreadPoolExecutor(4) as pool:
    first = 1
    while True:
        list(pool.map(lambda page: get(session, page), range(first, first + pages)))
        first += pages
        time.sleep(pause)
