"""Everything there is, eight pages at a time, as Scrapy does by itself."""

import sys
from itertools import count

import scrapy
from scrapy.crawler import CrawlerProcess

url = sys.argv[1]
numbers = count(1)


class Spider(scrapy.Spider):
    name = "spider"
    handle_httpstatus_list = [429]

    def next_page(self, _=None):
        return scrapy.Request(f"{url}/{next(numbers)}", callback=self.next_page, errback=self.next_page)

    async def start(self):
        for _ in range(8):
            yield self.next_page()


process = CrawlerProcess({"LOG_LEVEL": "ERROR", "RETRY_ENABLED": False, "TELNETCONSOLE_ENABLED": False})
process.crawl(Spider)
process.start()
