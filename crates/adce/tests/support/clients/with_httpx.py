import asyncio
import sys

import httpx

url, count, out = sys.argv[1], int(sys.argv[2]), sys.argv[3]


async def main():
    async with httpx.AsyncClient(timeout=60) as client:
        answers = await asyncio.gather(*[client.get(f"{url}/{number}") for number in range(count)])
    open(out, "w").write("".join(answer.raise_for_status().text for answer in answers))


asyncio.run(main())
