// Starts llama-server out of the tree of tools/get-llama-server.mjs on a model file of this machine, for tests. Its
// mounts live in a mount namespace of its own and end with it. Owns start, readiness and end; measures nothing.
import { spawn } from 'node:child_process';
import { createServer } from 'node:net';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const READY_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 5000;

/**
 * @typedef {object} RunningLlamaServer
 * @property {string} host
 * @property {number} port
 * @property {string} url
 * @property {() => string} output - what it printed so far, at most the last 64 KiB
 * @property {() => Promise<void>} stop - ends it; safe to call twice
 */

/**
 * Starts a server and resolves when it answers its health check. Throws with its last words when it does not within
 * a minute. One thread unless `args` say otherwise: on a busy machine llama.cpp's spinning barrier costs factors.
 *
 * @param {object} options
 * @param {string} options.tree - of `getLlamaServer()`
 * @param {string} options.modelFile - a GGUF file, or a directory to be seen as /models
 * @param {number} [options.slots] - sequences at once, by default 4
 * @param {number} [options.contextTokens] - of all slots together, by default 8192
 * @param {number} [options.port] - by default a free one
 * @param {string} [options.name] - the model's name for clients, by default the file's name
 * @param {boolean} [options.realtime] - run before everything else of the machine, so that it can be measured on a busy one
 * @param {readonly string[]} [options.args] - more arguments of llama-server
 * @returns {Promise<RunningLlamaServer>}
 */
export async function startLlamaServer(options) {
  const port = options.port ?? (await freePort());
  const models = path.dirname(path.resolve(options.modelFile));
  const file = path.basename(options.modelFile);
  const script = [
    'mount --bind /dev "$1/dev"',
    'mount -t proc proc "$1/proc"',
    'mount --bind "$2" "$1/models"',
    'tree=$1',
    'shift 2',
    // Should the test be killed, the kernel ends the server with it.
    `exec ${options.realtime === true ? 'chrt --rr 1 ' : ''}setpriv --pdeathsig KILL chroot "$tree" /usr/bin/llama-server "$@"`,
  ].join(' && ');
  const args = [
    ...['-m', `/models/${file}`, '--alias', options.name ?? path.parse(file).name],
    ...['--host', '127.0.0.1', '--port', String(port), '-t', '1'],
    ...['-np', String(options.slots ?? 4), '-c', String(options.contextTokens ?? 8192)],
    '--metrics',
    ...(options.args ?? []),
  ];
  const child = spawn(
    'unshare',
    ['--mount', 'sh', '-c', script, 'sh', options.tree, models, ...args],
    {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C.UTF-8' },
    },
  );
  let output = '';
  const keep = (/** @type {Buffer} */ chunk) => {
    output = (output + chunk).slice(-65_536);
  };
  child.stdout.on('data', keep);
  child.stderr.on('data', keep);
  let ended = false;
  /** @type {Promise<void>} */
  const end = new Promise((resolve) => {
    const done = () => {
      ended = true;
      resolve();
    };
    child.once('error', (error) => {
      output += String(error);
      done();
    });
    child.once('close', done);
  });
  const stop = async () => {
    if (ended) return;
    child.kill('SIGTERM');
    await Promise.race([end, sleep(STOP_TIMEOUT_MS, undefined, { ref: false })]);
    if (!ended) child.kill('SIGKILL');
    await end;
  };
  const url = `http://127.0.0.1:${port}`;
  const deadline = Date.now() + READY_TIMEOUT_MS;
  while (!(await answers(`${url}/health`))) {
    if (ended || Date.now() > deadline) {
      await stop();
      throw new Error(`llama-server did not become ready: ${output.slice(-2000)}`);
    }
    await sleep(50);
  }
  return { host: '127.0.0.1', port, url, output: () => output, stop };
}

/** @param {string} url */
async function answers(url) {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(2000) });
    await response.arrayBuffer();
    return response.ok;
  } catch {
    return false;
  }
}

/** @returns {Promise<number>} */
function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address ? address.port : 0));
    });
  });
}
