// Bursts of pages, all at once, and a pause; with 0 pages everything there is, eight at a time.
import { appendFileSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';

const [url, pages, pause, asked] = process.argv.slice(2);
let page = 0;
const next = async () => {
  page += 1;
  const of = `${url}/${page}`;
  if (asked && Number(pages)) appendFileSync(asked, `${Date.now() / 1000} ${of}\n`);
  await (await fetch(of)).arrayBuffer();
};
const endless = async () => {
  for (;;) await next();
};
const all = (many, what) => Promise.all(Array.from({ length: many }, what));
if (Number(pages) === 0) await all(8, endless);
for (;;) {
  await all(Number(pages), next);
  await setTimeout(Number(pause) * 1000);
}
