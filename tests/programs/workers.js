// Worker threads that come and go, buffers outside the JavaScript heap, compression, streams.
'use strict';
const { Worker, isMainThread, parentPort, workerData } = require('worker_threads');
const zlib = require('zlib');
const crypto = require('crypto');

function work(seed) {
  const map = new Map();
  for (let i = 0; i < 60000; i++) {
    const key = 'key' + ((i * 7919 + seed) % 4001);
    map.set(key, (map.get(key) || '') + i);
  }
  const text = Buffer.from([...map.entries()].sort().join(';'));
  const packed = zlib.deflateSync(text);
  if (!zlib.inflateSync(packed).equals(text)) throw new Error('zlib');
  const buffers = [];
  for (let i = 0; i < 500; i++) buffers.push(Buffer.alloc((i * 911) % 70000, i));
  const hash = crypto.createHash('sha256').update(text);
  for (const buffer of buffers) hash.update(buffer);
  return hash.digest('hex');
}

async function main() {
  for (let round = 0; round < 3; round++) {
    const results = await Promise.all([0, 1, 2, 3].map((seed) => new Promise((resolve, reject) => {
      const worker = new Worker(__filename, { workerData: seed + round });
      worker.on('message', resolve);
      worker.on('error', reject);
    })));
    console.log(results.join('\n'));
  }
  const packed = await Promise.all([...Array(20).keys()].map((i) => new Promise((resolve, reject) => {
    zlib.gzip(Buffer.alloc(200000, 'abc' + i), (error, data) => error ? reject(error) : resolve(data));
  })));
  console.log(packed.map((data) => data.length).join(' '));
}

if (isMainThread) main();
else parentPort.postMessage(work(workerData));
