// A Node service with @pyroscope/nodejs inside: three functions share the CPU 60/30/10.
'use strict';
const Pyroscope = require('@pyroscope/nodejs');

function spin(units) {
  let sum = 0;
  for (let i = 0; i < units * 240_000; i++) sum = (sum * 31 + i) & 0xffff;
  return sum;
}
function sixty(length) { return spin(60 * length) + 1; }
function thirty(length) { return spin(30 * length) + 2; }
function ten(length) { return spin(10 * length) + 3; }

async function main() {
  const [url, seconds] = [process.argv[2], Number(process.argv[3])];
  Pyroscope.init({
    serverAddress: url,
    appName: 'interop.node',
    tags: { zone: 'eu-1' },
    flushIntervalMs: 5000,
    wall: { collectCpuTime: true },
  });
  Pyroscope.start();
  let sum = 0;
  // Of CPU: a busy machine makes it wait longer, and nothing else.
  while (process.cpuUsage().user < seconds * 1e6) {
    // Rounds of many samples, so that few are left to chance; of one length they would keep step with a profiler's clock.
    const length = 1 + Math.floor(Math.random() * 9);
    sum += sixty(length) + thirty(length) + ten(length);
    // Uploads need the loop.
    await new Promise((resolve) => setImmediate(resolve));
  }
  await Pyroscope.stop();
  console.log(sum);
}
main();
