# One page after the other, with a pause after so many.
url=$1 pages=$2 pause=$3 asked=$4
page=1
while :; do
  echo "$(date +%s.%N) $url/$page" >>"$asked"
  wget -q -O /dev/null "$url/$page"
  [ $((page % pages)) -gt 0 ] || sleep "$pause"
  page=$((page + 1))
done
