import sys

import scrapy
from scrapy.crawler import CrawlerProcess

url, count, out = sys.argv[1], int(sys.argv[2]), sys.argv[3]
texts = []


class Pages(scrapy.Spider):
    name = "pages"
    start_urls = [f"{url}/{number}" for number in range(count)]

    def parse(self, response):
        texts.append(response.text)


process = CrawlerProcess({"LOG_LEVEL": "ERROR", "RETRY_ENABLED": False, "TELNETCONSOLE_ENABLED": False})
process.crawl(Pages)
process.start()
if len(texts) != count:
    sys.exit(f"{len(texts)} of {count} pages")
open(out, "w").write("".join(texts))
