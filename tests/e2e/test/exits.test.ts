/**
 * CONTRACT §1's table of exits, over the built command: code of the error, exit code, and that nothing was started or
 * changed by the refusal.
 */
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { createServer } from 'node:net';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createPlace, type Ended, type Place, QUICKSTART, run } from './support/command.js';
import { processesOf, startUp } from './support/running.js';

const HEAD = `apiVersion: aim-gpu/v1alpha1
kind: Fleet
metadata: { name: test }
nodes:
  - name: node-a
    driver: simulated
    cards: { product: MI300X, count: 1 }
`;

const ONE_MODEL = `${HEAD}models:
  - name: tiny
    source: meta-llama/Llama-3.2-1B-Instruct
    concurrency: 2
    maxModelLen: 2048
`;

let place: Place;
beforeEach(() => {
  place = createPlace();
});
afterEach(() => place.remove());

interface Failure {
  readonly error: {
    readonly code: string;
    readonly kind: string;
    readonly at?: { readonly line: number; readonly column: number };
  };
}

function failureOf(ended: Ended): Failure {
  expect(ended.stderr).not.toMatch(/\n\s+at /);
  return JSON.parse(ended.stdout) as Failure;
}

/** A refusal leaves no process, no socket and no changed machine behind. */
function expectNothingChanged(): void {
  expect(processesOf(place.stateDirectory)).toEqual([]);
  const left = existsSync(place.stateDirectory) ? readdirSync(place.stateDirectory) : [];
  expect(
    left.filter((name) => name.endsWith('.sock') || name.startsWith('simulated-machines')),
  ).toEqual([]);
}

interface Scenario {
  readonly name: string;
  readonly args: () => readonly string[];
  readonly code: string;
  readonly exit: number;
  readonly line?: number;
}

function file(content: string | Uint8Array, name: string = 'fleet.yaml'): string {
  return place.write(name, content);
}

const ALIAS_BOMB = `${HEAD}models:
  - &a { name: a, source: x/y }
x: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a]
y: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b, *b]
z: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c, *c]
w: [*d, *d, *d, *d, *d, *d, *d, *d, *d, *d]
`;

const INVALID: readonly Scenario[] = [
  {
    name: 'unknown key',
    args: () => ['up', file(ONE_MODEL.replace('concurrency', 'concurency'))],
    code: 'ERR_CONFIG_INVALID',
    exit: 2,
    line: 11,
  },
  {
    name: 'wrong unit',
    args: () => ['up', file(`${ONE_MODEL}    placement: { minShare: 20 apples }\n`)],
    code: 'ERR_CONFIG_INVALID',
    exit: 2,
    line: 13,
  },
  {
    name: 'wrong type',
    args: () => ['up', file(ONE_MODEL.replace('concurrency: 2', 'concurrency: many'))],
    code: 'ERR_CONFIG_INVALID',
    exit: 2,
    line: 11,
  },
  {
    name: 'unknown product',
    args: () => ['up', file(ONE_MODEL.replace('MI300X', 'MI300Z'))],
    code: 'ERR_CONFIG_INVALID',
    exit: 2,
    line: 7,
  },
  {
    name: 'unknown band',
    args: () => ['up', file(`${ONE_MODEL}    band: urgent\n`)],
    code: 'ERR_CONFIG_INVALID',
    exit: 2,
    line: 13,
  },
  {
    name: 'duplicate name',
    args: () => ['up', file(`${ONE_MODEL}  - name: tiny\n    source: Qwen/Qwen3-1.7B\n`)],
    code: 'ERR_CONFIG_INVALID',
    exit: 2,
    line: 13,
  },
  {
    name: 'truncated file',
    args: () => ['up', file(`${HEAD}models: [{ name: tiny, source: "meta`)],
    code: 'ERR_CONFIG_INVALID',
    exit: 2,
  },
  { name: 'empty file', args: () => ['up', file('')], code: 'ERR_CONFIG_INVALID', exit: 2 },
  {
    name: 'file that is not UTF-8',
    args: () => ['up', file(new Uint8Array([0xff, 0xfe, 0x00, 0xd8]))],
    code: 'ERR_CONFIG_INVALID',
    exit: 2,
  },
  { name: 'alias bomb', args: () => ['up', file(ALIAS_BOMB)], code: 'ERR_CONFIG_INVALID', exit: 2 },
  {
    name: 'tokenizer file given as model config',
    args: () => {
      file(
        JSON.stringify({ version: '1.0', added_tokens: [], model: { type: 'BPE', vocab: {} } }),
        'tokenizer.json',
      );
      return [
        'up',
        file(ONE_MODEL.replace('meta-llama/Llama-3.2-1B-Instruct', './tokenizer.json')),
      ];
    },
    code: 'ERR_CONFIG_INVALID',
    exit: 2,
  },
  { name: 'unknown command', args: () => ['frobnicate'], code: 'ERR_USAGE', exit: 2 },
  {
    name: 'unknown flag',
    args: () => ['plan', QUICKSTART, '--frobnicate'],
    code: 'ERR_USAGE',
    exit: 2,
  },
  { name: 'missing argument', args: () => ['up'], code: 'ERR_USAGE', exit: 2 },
  { name: 'no command at all', args: () => [], code: 'ERR_USAGE', exit: 2 },
  {
    name: 'unreadable listen address',
    args: () => ['up', QUICKSTART, '--listen', 'nowhere'],
    code: 'ERR_USAGE',
    exit: 2,
  },
  {
    name: 'key whose variable is unset',
    args: () => [
      'up',
      file(`${ONE_MODEL}tenants:\n  - name: team-a\n    keys: [{ env: AIM_GPU_TEST_UNSET }]\n`),
    ],
    code: 'ERR_KEY_MISSING',
    exit: 2,
  },
];

const MISSING: readonly Scenario[] = [
  {
    name: 'fleet file that does not exist',
    args: () => ['up', path.join(place.directory, 'none.yaml')],
    code: 'ERR_FILE_MISSING',
    exit: 4,
  },
  {
    name: 'model file that does not exist',
    args: () => ['up', file(ONE_MODEL.replace('meta-llama/Llama-3.2-1B-Instruct', './none.json'))],
    code: 'ERR_FILE_MISSING',
    exit: 4,
  },
  {
    name: 'unknown model',
    args: () => ['up', file(ONE_MODEL.replace('Llama-3.2-1B', 'Llama-9.9-1B'))],
    code: 'ERR_MODEL_UNKNOWN',
    exit: 4,
  },
  {
    name: 'unknown node',
    args: () => ['up', file(ONE_MODEL), '--node', 'node-z'],
    code: 'ERR_NODE_UNKNOWN',
    exit: 4,
  },
  {
    name: 'cards where there are none',
    args: () => ['gpus', '--driver', 'simulated'],
    code: 'ERR_DEVICE_UNKNOWN',
    exit: 4,
  },
  {
    name: 'rocm without amdgpu',
    args: () => ['gpus', '--driver', 'rocm', '--root', place.directory],
    code: 'ERR_DEVICE_UNKNOWN',
    exit: 4,
  },
  {
    name: 'status without an agent',
    args: () => ['status'],
    code: 'ERR_AGENT_NOT_RUNNING',
    exit: 4,
  },
  { name: 'down without an agent', args: () => ['down'], code: 'ERR_AGENT_NOT_RUNNING', exit: 4 },
];

const LARGE = `${HEAD}models:
  - name: huge
    source: deepseek-ai/DeepSeek-R1
`;

const REFUSED: readonly Scenario[] = [
  {
    name: 'layout that the product does not have',
    args: () => ['size', 'Qwen/Qwen3-8B', '--gpu', 'MI300X', '--layout', 'TPX/NPS1'],
    code: 'ERR_LAYOUT_UNSUPPORTED',
    exit: 6,
  },
  {
    name: 'model that does not fit',
    args: () => ['up', file(LARGE)],
    code: 'ERR_DOES_NOT_FIT',
    exit: 6,
  },
  {
    name: 'more models than there is room for',
    args: () => [
      'up',
      file(
        `${HEAD}models:\n${Array.from({ length: 9 }, (_, index) => `  - name: m${index}\n    source: Qwen/Qwen3-8B\n    placement: { exclusive: true }\n`).join('')}`,
      ),
    ],
    code: 'ERR_UNPLACED',
    exit: 6,
  },
];

describe.each([
  ['invalid', INVALID],
  ['missing', MISSING],
  ['refused', REFUSED],
])('%s', (_, scenarios) => {
  it.each(scenarios)('$name: $code, exit $exit', async (scenario) => {
    const args = scenario.args();
    // Another run beside this one may hold the default ports.
    const ports = ['--listen', '127.0.0.1:0', '--admin-listen', '127.0.0.1:0'];
    const ended = await run([
      ...args,
      ...(args[0] === 'up' && !args.includes('--listen') ? ports : []),
      '--json',
      '--state-dir',
      place.stateDirectory,
    ]);
    const failure = failureOf(ended);
    expect(failure.error.code).toBe(scenario.code);
    expect(ended.code).toBe(scenario.exit);
    if (scenario.line !== undefined) expect(failure.error.at?.line).toBe(scenario.line);
    expectNothingChanged();
  });
});

describe('for people', () => {
  it('shows the line with a caret, what is allowed and one fix, on stderr only', async () => {
    const fleet = file(ONE_MODEL.replace('concurrency', 'concurency'));
    const ended = await run(['validate', fleet]);
    expect(ended.code).toBe(2);
    expect(ended.stdout).toBe('');
    expect(ended.stderr).toContain('concurency');
    expect(ended.stderr).toContain('^');
    expect(ended.stderr).toMatch(/hint: .*concurrency/);
  });

  it.each([[], ['validate'], ['plan'], ['up'], ['status'], ['down'], ['gpus']])(
    '--help of %s has an example',
    async (...words) => {
      const ended = await run([...words, '--help']);
      expect(ended.code).toBe(0);
      expect(ended.stdout).toContain('Example:');
    },
  );
});

describe('plan', () => {
  it('prints the whole plan and exits 6 when something has no place', async () => {
    const ended = await run(['plan', file(LARGE), '--json', '--state-dir', place.stateDirectory]);
    const plan = JSON.parse(ended.stdout) as {
      kind: string;
      unplaced: { reasons: { code: string; fix: string }[] }[];
    };
    expect(ended.code).toBe(6);
    expect(plan.kind).toBe('Plan');
    expect(plan.unplaced[0]?.reasons[0]).toMatchObject({ code: 'does-not-fit' });
    expect(plan.unplaced[0]?.reasons[0]?.fix).not.toBe('');
  });

  it('gives the same bytes for the same input', async () => {
    const first = await run(['plan', QUICKSTART, '--json', '--state-dir', place.stateDirectory]);
    const second = await run(['plan', QUICKSTART, '--json', '--state-dir', place.stateDirectory]);
    expect(first.code).toBe(0);
    expect(second.stdout).toBe(first.stdout);
  });

  it('warns of a key whose variable is unset and plans all the same', async () => {
    const fleet = file(
      `${ONE_MODEL}tenants:\n  - name: team-a\n    keys: [{ env: AIM_GPU_TEST_UNSET }]\n`,
    );
    const ended = await run(['plan', fleet, '--json', '--state-dir', place.stateDirectory]);
    expect(ended.code).toBe(0);
    expect(ended.stderr).toContain('AIM_GPU_TEST_UNSET');
  });
});

describe('conflict', () => {
  it('port in use: ERR_PORT_IN_USE, exit 5, nothing changed', async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    try {
      const args = [
        'up',
        file(ONE_MODEL),
        '--json',
        '--state-dir',
        place.stateDirectory,
        '--listen',
        `127.0.0.1:${port}`,
      ];
      const ended = await run(args);
      expect(failureOf(ended).error.code).toBe('ERR_PORT_IN_USE');
      expect(ended.code).toBe(5);
      expectNothingChanged();
    } finally {
      server.close();
    }
  });

  it('state directory held by another agent: ERR_STATE_LOCKED, exit 5, the first one keeps running', async () => {
    const fleet = file(ONE_MODEL);
    const first = await startUp(fleet, place.stateDirectory);
    try {
      const ports = ['--listen', '127.0.0.1:0', '--admin-listen', '127.0.0.1:0'];
      const ended = await run([
        'up',
        fleet,
        '--json',
        '--state-dir',
        place.stateDirectory,
        ...ports,
      ]);
      expect(failureOf(ended).error.code).toBe('ERR_STATE_LOCKED');
      expect(ended.code).toBe(5);
      const status = await run(['status', '--json', '--state-dir', place.stateDirectory]);
      expect(JSON.parse(status.stdout)).toMatchObject({ state: 'ready', pid: first.pid });
    } finally {
      await first.stop();
    }
  });

  it('device busy: other cards while engines use the machine: ERR_DEVICE_BUSY, exit 5, they go on', async () => {
    const first = await startUp(file(ONE_MODEL), place.stateDirectory);
    try {
      const other = file(ONE_MODEL.replace('count: 1', 'count: 2'), 'other.yaml');
      const ended = await run(['plan', other, '--json', '--state-dir', place.stateDirectory]);
      const failure = failureOf(ended).error as Failure['error'] & {
        details: { pids: number[] };
      };
      expect(failure.code).toBe('ERR_DEVICE_BUSY');
      expect(failure.details.pids.length).toBeGreaterThan(0);
      expect(ended.code).toBe(5);
      const status = await run(['status', '--json', '--state-dir', place.stateDirectory]);
      expect(JSON.parse(status.stdout)).toMatchObject({ state: 'ready' });
    } finally {
      await first.stop();
    }
  });

  it('read-only state directory: a coded error, nothing started', async () => {
    mkdirSync(place.stateDirectory);
    place.write('state/blocked', '');
    const ended = await run([
      'up',
      file(ONE_MODEL),
      '--json',
      '--state-dir',
      path.join(place.stateDirectory, 'blocked'),
    ]);
    expect(failureOf(ended).error.code).toBe('ERR_STATE_IO');
    expect(processesOf(place.stateDirectory)).toEqual([]);
  });
});
