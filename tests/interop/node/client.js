// A Node service with @pyroscope/nodejs inside: three functions share the CPU 60/30/10.
'use strict';
const Pyroscope = require('@pyroscope/nodejs');

function spin(units) {
  let sum = 0;
  for (let i = 0; i < units * 50_000; i++) sum = (sum * 31 + i) & 0xffff;
  return sum;
}
function sixty() { return spin(60) + 1; }
function thirty() { return spin(30) + 2; }
function ten() { return spin(10) + 3; }

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
    sum += sixty() + thirty() + ten();
    // Uploads need the loop.
    await new Promise((resolve) => setImmediate(resolve));
  }
  await Pyroscope.stop();
  console.log(sum);
}
main();
