// The load of the memory bench: `memory-client-process.ts mixed <port> <connections> <requests>` (JSON, streams, aborted
// ones), `… idle <port> <connections>` (each has had one answer and stays), `… streams <port> <streams> <seconds>`.
import { Agent, request } from 'node:http';

const [kind = '', port = '', ...rest] = process.argv.slice(2);
const [first = 1, second = 1] = rest.map(Number);
const agent = new Agent({ keepAlive: true, maxSockets: Number.POSITIVE_INFINITY, noDelay: true });
const HEADERS = { 'content-type': 'application/json', authorization: 'Bearer sk-bench' };
const messages = [{ role: 'user', content: 'x'.repeat(200) }];

/** Sends one request and reads its answer, or hangs up after `abortMs`. Resolves to the status, 0 for no answer. */
function ask(document: object, abortMs: number | null = null): Promise<number> {
  const body = JSON.stringify({ model: 'm', messages, ...document });
  return new Promise((resolve) => {
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
        response.resume();
        response.on('end', () => resolve(response.statusCode ?? 0));
        response.on('error', () => resolve(0));
      },
    );
    sent.on('error', () => resolve(0));
    sent.end(body);
    if (abortMs !== null) setTimeout(() => sent.destroy(), abortMs);
  });
}

/** Of each ten: five JSON, three streams, one stream and one JSON that their client leaves. */
async function mixed(connections: number, requests: number): Promise<object> {
  let left = requests;
  let errors = 0;
  const counts = { json: 0, streams: 0, aborted: 0 };
  const one = async (index: number): Promise<void> => {
    const kindOf = index % 10;
    const stream = kindOf >= 5 && kindOf < 9;
    const document = stream ? { stream: true, max_tokens: 5, interval: 1 } : { max_tokens: 64 };
    if (kindOf >= 8) {
      counts.aborted += 1;
      await ask(document, index % 7);
      return;
    }
    if (stream) counts.streams += 1;
    else counts.json += 1;
    if ((await ask(document)) !== 200) errors += 1;
  };
  const work = async (): Promise<void> => {
    while (left > 0) {
      left -= 1;
      await one(left);
    }
  };
  await Promise.all(Array.from({ length: connections }, work));
  agent.destroy();
  return { ...counts, errors };
}

/** Opens connections a few at a time; each has one answer and then stays open. */
async function idle(connections: number): Promise<object> {
  let left = connections;
  let errors = 0;
  // While any free socket is left the agent would take it again, so each request brings its own.
  const work = async (): Promise<void> => {
    while (left > 0) {
      left -= 1;
      if ((await hold()) !== 200) errors += 1;
    }
  };
  await Promise.all(Array.from({ length: 50 }, work));
  return { connections: connections - errors, errors };
}

function hold(): Promise<number> {
  const own = new Agent({ keepAlive: true, maxSockets: 1 });
  const body = JSON.stringify({ model: 'm', messages, max_tokens: 64 });
  return new Promise((resolve) => {
    const sent = request(
      {
        host: '127.0.0.1',
        port: Number(port),
        path: '/v1/chat/completions',
        method: 'POST',
        headers: { ...HEADERS, 'content-length': body.length },
        agent: own,
      },
      (response) => {
        response.resume();
        response.on('end', () => resolve(response.statusCode ?? 0));
      },
    );
    sent.on('error', () => resolve(0));
    sent.end(body);
  });
}

/** So many streams of 50 tokens a second at any moment, each ten seconds long, until the time is over. */
async function streams(count: number, seconds: number): Promise<object> {
  const endsMs = performance.now() + seconds * 1000;
  let served = 0;
  let errors = 0;
  const work = async (): Promise<void> => {
    while (performance.now() < endsMs) {
      if ((await ask({ stream: true, max_tokens: 500, interval: 20 })) === 200) served += 1;
      else errors += 1;
    }
  };
  await Promise.all(Array.from({ length: count }, work));
  return { served, errors };
}

process.send?.('up');
if (kind === 'mixed') process.send?.(await mixed(first, second), () => process.exit(0));
else if (kind === 'idle') {
  process.send?.(await idle(first));
  // Idle connections alone let a process end.
  process.on('message', () => undefined);
} else process.send?.(await streams(first, second), () => process.exit(0));
