const { writeFileSync } = require('node:fs');

const [url, count, out] = process.argv.slice(2);
const { get } = require(url.startsWith('https:') ? 'node:https' : 'node:http');
const page = (number) =>
  new Promise((done, failed) => {
    get(`${url}/${number}`, (answer) => {
      if (answer.statusCode !== 200) return failed(new Error(`${answer.statusCode} for ${number}`));
      let text = '';
      answer.on('data', (part) => (text += part));
      answer.on('end', () => done(text));
    }).on('error', failed);
  });
Promise.all(Array.from({ length: Number(count) }, (_, number) => page(number))).then((pages) => writeFileSync(out, pages.join('')));
