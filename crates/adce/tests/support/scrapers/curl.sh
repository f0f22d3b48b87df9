# Bursts of pages, all at once, and a pause; with 0 pages everything there is, six at a time.
url=$1 pages=$2 pause=$3 asked=$4
[ "$pages" -gt 0 ] || exec curl -sS --no-progress-meter -Z --parallel-immediate --parallel-max 6 "$url/[1-9999999]" -o /dev/null
first=1
while :; do
  last=$((first + pages - 1))
  now=$(date +%s.%N)
  seq -f "$now $url/%.0f" "$first" "$last" >>"$asked"
  curl -sS --no-progress-meter -Z --parallel-immediate "$url/[$first-$last]" -o /dev/null
  first=$((last + 1))
  sleep "$pause"
done
