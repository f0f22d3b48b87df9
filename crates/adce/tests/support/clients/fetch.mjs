import { writeFileSync } from 'node:fs';

const [url, count, out] = process.argv.slice(2);
const pages = Array.from({ length: Number(count) }, async (_, number) => {
  const answer = await fetch(`${url}/${number}`);
  if (!answer.ok) throw new Error(`${answer.status} for ${number}`);
  return answer.text();
});
writeFileSync(out, (await Promise.all(pages)).join(''));
