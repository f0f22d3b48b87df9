import asyncio
import sys

import aiohttp

url, count, out = sys.argv[1], int(sys.argv[2]), sys.argv[3]


async def get(session, number):
    async with session.get(f"{url}/{number}", raise_for_status=True) as answer:
        return await answer.text()


async def main():
    async with aiohttp.ClientSession(trust_env=True) as session:
        texts = await asyncio.gather(*[get(session, number) for number in range(count)])
    open(out, "w").write("".join(texts))


asyncio.run(main())
