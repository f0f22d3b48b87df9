// Tasks that do nothing through a queue on PostgreSQL: `node pgqueue.mjs pg-boss|graphile-worker TASKS POSTGRES_URL`.
// Started by `bench/run peers`, which installs the packages beside a copy of this file. Prints one line of JSON: seconds
// until all are enqueued, and from then on until all are done and the table says so.
import { performance } from 'node:perf_hooks';
import pg from 'pg';

const [what, tasks, url] = [process.argv[2], Number(process.argv[3]), process.argv[4]];
const ENQUEUED_AT_ONCE = 1_000;
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function inBatches(enqueue) {
  for (let first = 0; first < tasks; first += ENQUEUED_AT_ONCE) {
    await enqueue(Array.from({ length: Math.min(ENQUEUED_AT_ONCE, tasks - first) }, (_, at) => first + at));
  }
}

async function left(sql) {
  const client = new pg.Client(url);
  await client.connect();
  while (Number((await client.query(sql)).rows[0].count) > 0) await sleep(5);
  await client.end();
}

async function measured(enqueue, drain) {
  let began = performance.now();
  await enqueue();
  const enqueued = performance.now() - began;
  began = performance.now();
  await drain();
  console.log(JSON.stringify({ enqueued: enqueued / 1e3, drained: (performance.now() - began) / 1e3 }));
  process.exit(0);
}

// Four workers that fetch and complete 5,000 at a time.
async function pgBoss() {
  const { default: PgBoss } = await import('pg-boss');
  const boss = new PgBoss({ connectionString: url, max: 10 });
  boss.on('error', console.error);
  await boss.start();
  await boss.createQueue('q');
  let done = 0;
  await measured(
    () => inBatches((numbers) => boss.insert(numbers.map((i) => ({ name: 'q', data: { i } })))),
    async () => {
      for (let worker = 0; worker < 4; worker++) {
        await boss.work('q', { batchSize: 5_000, pollingIntervalSeconds: 0.5 }, async (jobs) => { done += jobs.length; });
      }
      while (done < tasks) await sleep(2);
      await left("select count(*) from pgboss.job where name = 'q' and state < 'completed'");
    },
  );
}

// A local queue that fetches 500 at a time, and results that go together.
async function graphileWorker() {
  const { run, makeWorkerUtils, Logger } = await import('graphile-worker');
  const utils = await makeWorkerUtils({ connectionString: url });
  await utils.migrate();
  let done = 0;
  const worker = {
    connectionString: url, concurrentJobs: 24, maxPoolSize: 25, pollInterval: 2_000,
    localQueue: { size: 500 }, completeJobBatchDelay: 0, failJobBatchDelay: 0,
  };
  await measured(
    () => inBatches((numbers) => utils.addJobs(numbers.map((i) => ({ identifier: 'noop', payload: { i } })))),
    async () => {
      await run({ noHandleSignals: true, taskList: { noop: () => { done += 1; } }, preset: { worker }, logger: new Logger(() => () => {}) });
      while (done < tasks) await sleep(2);
      await left('select count(*) from graphile_worker._private_jobs');
    },
  );
}

await { 'pg-boss': pgBoss, 'graphile-worker': graphileWorker }[what]();
