/** Questions to the planner: explain, capacity, fragmentation and plan --what-if, as text and as JSON. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { runCommandLine } from '../src/program.js';
import { createFakeIo, type FakeIo, SMALL_FLEET } from './support/fake-io.js';

let io: FakeIo;
beforeEach(() => {
  io = createFakeIo();
  io.write('fleet.yaml', SMALL_FLEET);
});
afterEach(() => io.remove());

const run = (...argv: string[]): Promise<number> => runCommandLine(argv, io);
const json = (): Record<string, unknown> => JSON.parse(io.out()) as Record<string, unknown>;

const TOO_LARGE = SMALL_FLEET.replace(
  'meta-llama/Llama-3.2-1B-Instruct',
  'deepseek-ai/DeepSeek-R1',
);

describe('explain', () => {
  it('says where a model is and why', async () => {
    expect(await run('explain', 'tiny', 'fleet.yaml')).toBe(0);
    expect(io.out()).toContain('tiny-0 on ');
    expect(io.out()).toContain('best-fit:');
    expect(io.out()).toMatch(/of \d+ partitions \d+ could take one more/);
  });

  it('counts what each constraint removed, and has the fix', async () => {
    io.write('fleet.yaml', TOO_LARGE);
    expect(await run('explain', 'tiny', 'fleet.yaml', '--json')).toBe(6);
    expect(json()).toMatchObject({ workload: 'tiny', open: 0, unplaced: { workload: 'tiny' } });
    expect(json()['removed']).toMatchObject([{ code: 'too-large', partitions: 1 }]);
  });

  it('knows no other model', async () => {
    expect(await run('explain', 'nobody', 'fleet.yaml', '--json')).toBe(4);
    expect(json()['error']).toMatchObject({ code: 'ERR_MODEL_UNKNOWN', kind: 'missing' });
  });
});

describe('explain of what has no place', () => {
  const model = (name: string, more: string): string =>
    `  - { name: ${name}, source: meta-llama/Llama-3.2-1B-Instruct, concurrency: 2, maxModelLen: 2048, ${more} }\n`;

  it('names the wishes that contradict each other', async () => {
    const wish = 'placement: { products: [MI325X] }';
    io.write('fleet.yaml', `${SMALL_FLEET}${model('odd', wish)}`);
    expect(await run('explain', 'odd', 'fleet.yaml')).toBe(6);
    expect(io.out()).toContain('drop one of these wishes: placement.products of odd');
    expect(io.out()).toContain('no end of another model is known');
  });

  it('tells how long it waits for those who end', async () => {
    const whole = 'placement: { minShare: 150GiB }';
    io.write(
      'fleet.yaml',
      `${SMALL_FLEET}${model('job', `${whole}, band: critical, duration: 2h`)}${model('next', whole)}`,
    );
    expect(await run('explain', 'next', 'fleet.yaml', '--json')).toBe(6);
    expect(json()['wait']).toEqual({ workload: 'next', waitMs: 7_200_000, until: ['job-0'] });
    expect(json()['conflict']).toEqual([
      { workload: 'job', wish: 'placement.minShare' },
      { workload: 'next', wish: 'placement.minShare' },
    ]);
  });
});

describe('plan --usage', () => {
  it('prints cards, models and prices', async () => {
    const priced = SMALL_FLEET.replace(
      'driver: simulated,',
      'driver: simulated, cardPricePerHour: 2.5,',
    );
    io.write('fleet.yaml', priced);
    expect(await run('plan', 'fleet.yaml', '--usage')).toBe(0);
    expect(io.out()).toMatch(/fleet +1 +0 .* % +2\.50/);
    expect(io.out()).toMatch(/tiny +1 .* 2\.50/);
  });

  it('is a document with the same', async () => {
    expect(await run('plan', 'fleet.yaml', '--usage', '--json')).toBe(0);
    expect(json()).toMatchObject({
      fleet: { cards: 1, emptyCards: 0, pricePerHour: null },
      workloads: [{ workload: 'tiny', instances: 1 }],
    });
  });
});

describe('capacity', () => {
  it('finds the fewest cards', async () => {
    expect(await run('capacity', 'fleet.yaml', '--gpu', 'MI300X', '--json')).toBe(0);
    expect(json()).toMatchObject({ products: [{ product: 'MI300X', cards: 1, unplaced: [] }] });
  });

  it('says so when no number will do', async () => {
    io.write('fleet.yaml', TOO_LARGE);
    expect(await run('capacity', 'fleet.yaml', '--most', '2')).toBe(6);
    expect(io.out()).toContain('no number of MI300X serves it');
  });

  it('refuses a product that it does not know', async () => {
    expect(await run('capacity', 'fleet.yaml', '--gpu', 'MI1', '--json')).toBe(2);
    expect(json()['error']).toMatchObject({ code: 'ERR_PRODUCT_UNKNOWN' });
  });
});

describe('fragmentation', () => {
  it('prints fleet, nodes and cards', async () => {
    expect(await run('fragmentation', 'fleet.yaml')).toBe(0);
    expect(io.out()).toMatch(/WHERE +IDLE +LOST +RATIO/);
  });

  it('is a document with the same', async () => {
    expect(await run('fragmentation', 'fleet.yaml', '--json')).toBe(0);
    const { fleet, cards } = json() as { fleet: { idleBytes: number }; cards: unknown[] };
    expect(fleet.idleBytes).toBeGreaterThan(0);
    expect(cards).toHaveLength(1);
  });
});

describe('plan --what-if', () => {
  it('says what a card more and a model less would change', async () => {
    expect(
      await run('plan', 'fleet.yaml', '--what-if', 'add-card:MI300X', 'remove-model:tiny'),
    ).toBe(0);
    expect(io.out()).toContain('no longer placed: tiny-0');
    expect(io.out()).toContain('none to SPX/NPS1');
  });

  it('keeps a card in the layout of the question', async () => {
    expect(
      await run('plan', 'fleet.yaml', '--what-if', 'layout:0000:0c:00.0=CPX/NPS1', '--json'),
    ).toBe(0);
    expect(json()['difference']).toMatchObject({
      layouts: [{ before: 'SPX/NPS1', after: 'CPX/NPS1' }],
    });
  });

  it.each([
    ['add-card', 2, 'ERR_USAGE'],
    ['layout:0000:0c:00.0=XPX', 2, 'ERR_USAGE'],
    ['remove-card:0000:ff:00.0', 4, 'ERR_DEVICE_UNKNOWN'],
    ['remove-model:nobody', 4, 'ERR_MODEL_UNKNOWN'],
  ])('%s: exit %i, %s', async (change, exit, code) => {
    expect(await run('plan', 'fleet.yaml', '--what-if', change, '--json')).toBe(exit);
    expect(json()['error']).toMatchObject({ code });
  });
});
