"""Expected keys that an inventory report has not, by DuckDB: `antijoin.py FOLDER ROWS parquet|csv`, files as the example `report` writes them."""

import sys

import duckdb

folder, rows, form = sys.argv[1:]
db = duckdb.connect()
db.execute(f"set threads=2; set preserve_insertion_order=false; set temp_directory='{folder}/duckdb'")
keys = f"select 'data/' || replace(day, '-', '/') || '/' || name || '.json' as key from read_parquet('{folder}/expected-{rows}.parquet')"
there = f"read_parquet('{folder}/parquet-{rows}/data/*.parquet')"
if form == "csv":
    columns = "{'bucket': 'VARCHAR', 'key': 'VARCHAR', 'size': 'BIGINT', 'last_modified_date': 'TIMESTAMP', 'e_tag': 'VARCHAR', 'class': 'VARCHAR'}"
    there = f"read_csv('{folder}/csv-{rows}/data/*.csv.gz', header=false, columns={columns})"
joined = f"({keys}) e left join (select key, size, last_modified_date, e_tag from {there}) i on e.key = i.key"
found = f"select e.key, case when i.key is null then 'missing' else 'small' end as reason from {joined} where i.key is null or i.size < 1"
db.execute(f"copy ({found}) to '{folder}/duckdb.parquet' (format parquet)")
