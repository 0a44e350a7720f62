/**
 * The access log of the command: lines of JSON in a file or on the output, and a disk that fails.
 */
import { readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { openAccessLog } from '../src/access-log-writer.js';
import { createContext } from '../src/context.js';
import { createFakeIo, type FakeIo } from './support/fake-io.js';

const RECORD = {
  at: 1,
  requestId: 'r1',
  traceId: 't1',
  path: '/v1/completions',
  tenant: 'team',
  model: 'chat',
  band: 'standard',
  instance: 'chat-0',
  code: 200,
  stream: false,
  tries: 1,
  promptTokens: 5,
  cachedTokens: 0,
  outputTokens: 3,
  queueMs: 0,
  ttftMs: null,
  tpotMs: null,
  durationMs: 4,
} as const;

let io: FakeIo;
beforeEach(() => {
  io = createFakeIo();
});
afterEach(() => io.remove());

it('adds lines to a file that is its user’s alone', async () => {
  for (let run = 0; run < 2; run += 1) {
    const log = openAccessLog(createContext(io, {}), 'access.log');
    log.write(RECORD);
    log.write(RECORD);
    await log.close();
  }
  const file = path.join(io.cwd, 'access.log');
  const lines = readFileSync(file, 'utf8').trimEnd().split('\n');
  expect(lines.map((line) => JSON.parse(line))).toEqual([RECORD, RECORD, RECORD, RECORD]);
  expect(statSync(file).mode & 0o777).toBe(0o600);
});

it.each([
  [false, 'out'],
  [true, 'error'],
] as const)('with - and --json %s goes to std%s', async (json, where) => {
  const log = openAccessLog(createContext(io, { json }), '-');
  log.write(RECORD);
  await log.close();
  expect(JSON.parse(io[where]())).toEqual(RECORD);
});

it('a file that cannot be written is said once, and costs no request', async () => {
  const log = openAccessLog(createContext(io, {}), 'no/such/directory/access.log');
  for (let request = 0; request < 10; request += 1) log.write(RECORD);
  await vi.waitFor(() => expect(io.error()).toContain('access-log-failed'));
  log.write(RECORD);
  await log.close();
  expect(io.error().match(/access-log-failed/g)).toHaveLength(1);
  expect(io.error()).toContain('access-log-dropped');
});
