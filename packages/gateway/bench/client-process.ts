// The load: `client-process.ts json <port> <connections> <requests> [<interval ms>]` or
// `… sse <port> <streams> <rounds> <tokens> <interval ms>`.
// Prints its figures as one message to its parent after a warm-up, which it announces. The warm-up is the same for every
// proxy and long enough that what is measured is compiled code: programs differ in size, and a short run would measure
// the compiler.
import { Agent, request } from 'node:http';

const [kind = '', port = '', ...rest] = process.argv.slice(2);
const [first = 1, second = 1, third = 0, fourth = 20] = rest.map(Number);
const agent = new Agent({ keepAlive: true, maxSockets: Number.POSITIVE_INFINITY, noDelay: true });
const HEADERS = { 'content-type': 'application/json', authorization: 'Bearer sk-bench' };
const WARM_REQUESTS = 15_000;
const WARM_STREAMS = 3_000;
const WARM_AT_ONCE = 64;
const messages = [{ role: 'user', content: 'x'.repeat(200) }];

function quantile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}

const pause = (ms: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, Math.max(0, ms)));

function ask(body: string, onText: (text: string) => void): Promise<number> {
  return new Promise((resolve, reject) => {
    const sent = request(
      {
        host: '127.0.0.1',
        port: Number(port),
        path: '/v1/chat/completions',
        method: 'POST',
        headers: { ...HEADERS, 'content-length': body.length },
        agent,
      },
      (response) => {
        response.setEncoding('latin1');
        response.on('data', onText);
        response.on('end', () => resolve(response.statusCode ?? 0));
        response.on('error', reject);
      },
    );
    sent.on('error', reject);
    sent.end(body);
  });
}

/**
 * Counts, not seconds: on a busy machine a time would end before anything is compiled. With an interval each connection
 * asks that often, else as soon as it has its answer.
 */
async function json(connections: number, requests: number, intervalMs: number): Promise<object> {
  const body = JSON.stringify({ model: 'm', messages, max_tokens: 64 });
  const times: number[] = [];
  let errors = 0;
  let left = 0;
  const work = async (record: boolean, index: number): Promise<void> => {
    const paceMs = record ? intervalMs : 0;
    // Apart from each other, so that what is measured is an answer and not a crowd.
    let dueMs = performance.now() + (paceMs * index) / connections;
    while (left > 0) {
      left -= 1;
      if (paceMs > 0) await pause(dueMs - performance.now());
      dueMs += paceMs;
      const start = performance.now();
      const status = await ask(body, () => undefined).catch(() => 0);
      if (status !== 200) errors += 1;
      if (record) times.push(performance.now() - start);
    }
  };
  const all = (count: number, record: boolean): Promise<unknown> => {
    left = count;
    return Promise.all(Array.from({ length: connections }, (_, index) => work(record, index)));
  };
  await all(WARM_REQUESTS, false);
  process.send?.('warm');
  await all(requests, true);
  times.sort((a, b) => a - b);
  return {
    requests: times.length,
    errors,
    p50Ms: quantile(times, 0.5),
    p99Ms: quantile(times, 0.99),
  };
}

async function sse(
  streams: number,
  rounds: number,
  tokens: number,
  interval: number,
): Promise<object> {
  const body = JSON.stringify({ model: 'm', stream: true, max_tokens: tokens, interval, messages });
  const delays: number[] = [];
  const ttft: number[] = [];
  let errors = 0;
  let seen = 0;
  const one = async (record: boolean): Promise<void> => {
    const start = performance.now();
    let firstMs = 0;
    let count = 0;
    let tail = '';
    const status = await ask(body, (piece) => {
      const now = process.hrtime.bigint();
      if (firstMs === 0) firstMs = performance.now() - start;
      const text = tail + piece;
      let from = 0;
      for (let at = text.indexOf('"t":"'); at >= 0; at = text.indexOf('"t":"', from)) {
        const end = text.indexOf('"', at + 5);
        if (end < 0) break;
        if (record) delays.push(Number(now - BigInt(text.slice(at + 5, end))) / 1e6);
        count += 1;
        from = end;
      }
      tail = text.slice(from).slice(-400);
    }).catch(() => 0);
    if (status !== 200 || count !== tokens) errors += 1;
    if (!record) return;
    seen += count;
    ttft.push(firstMs);
  };
  // The beginning of a stream is warm only after thousands of them; one round of long ones has a few hundred.
  const short = JSON.stringify({ model: 'm', stream: true, max_tokens: 2, interval: 1, messages });
  let left = WARM_STREAMS;
  const warm = async (): Promise<void> => {
    for (; left > 0; left -= 1) await ask(short, () => undefined).catch(() => 0);
  };
  await Promise.all(Array.from({ length: WARM_AT_ONCE }, warm));
  await Promise.all(Array.from({ length: streams }, () => one(false)));
  process.send?.('warm');
  for (let round = 0; round < rounds; round += 1)
    await Promise.all(Array.from({ length: streams }, () => one(true)));
  delays.sort((a, b) => a - b);
  ttft.sort((a, b) => a - b);
  return {
    tokens: seen,
    errors,
    delayP50Ms: quantile(delays, 0.5),
    delayP99Ms: quantile(delays, 0.99),
    ttftP50Ms: quantile(ttft, 0.5),
    ttftP99Ms: quantile(ttft, 0.99),
  };
}

const figures = await (kind === 'json'
  ? json(first, second, third)
  : sse(first, second, third, fourth));
process.send?.(figures, () => process.exit(0));
