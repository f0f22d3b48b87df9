import sys
from concurrent.futures import ThreadPoolExecutor

import boto3
from botocore.config import Config

url, count, out = sys.argv[1], int(sys.argv[2]), sys.argv[3]
config = Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1})
keys = {"aws_access_key_id": "nobody", "aws_secret_access_key": "none"}
s3 = boto3.client("s3", endpoint_url=url, region_name="us-east-1", config=config, **keys)
with ThreadPoolExecutor(4) as pool:
    texts = list(pool.map(lambda number: s3.get_object(Bucket="bucket", Key=str(number))["Body"].read(), range(count)))
open(out, "wb").write(b"".join(texts))
