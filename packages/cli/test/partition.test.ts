/** `aim-gpu partition …` over the simulated machine of a state directory: from plan to history and back. */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { runCommandLine } from '../src/program.js';
import { createFakeIo, type FakeIo, SMALL_FLEET } from './support/fake-io.js';

const CARD = '0000:0c:00.0';
let io: FakeIo;
let fleet: string;
beforeEach(() => {
  io = createFakeIo();
  fleet = io.write('fleet.yaml', SMALL_FLEET);
});
afterEach(() => io.remove());

/** Runs a command with --json on the fleet's node; its exit code and its one document. */
async function run(...argv: readonly string[]) {
  const before = io.out().length;
  const exitCode = await runCommandLine(['partition', ...argv, '--fleet', fleet, '--json'], io);
  const text = io.out().slice(before);
  return { exitCode, document: JSON.parse(text) as Record<string, unknown> };
}

describe('aim-gpu partition', () => {
  it('plans without doing, applies, asserts, tells the history and goes back', async () => {
    const planned = await run('plan', 'QPX/NPS1');
    expect(planned.document).toMatchObject({
      kind: 'RepartitionPlan',
      steps: [{ change: { kind: 'set-compute', card: CARD, to: 'QPX' } }],
      blastRadius: { cards: [CARD], nodeWide: false },
      holders: [],
    });
    const dry = await run('apply', 'QPX/NPS1', '--dry-run');
    expect(dry.document).toEqual(planned.document);
    expect(await run('assert', 'SPX/NPS1')).toMatchObject({ exitCode: 0, document: { ok: true } });

    const applied = await run('apply', `${CARD}=QPX/NPS1`);
    expect(applied).toMatchObject({
      exitCode: 0,
      document: {
        outcome: 'applied',
        cards: [{ id: CARD, layout: { compute: 'QPX', memory: 'NPS1' } }],
      },
    });
    expect(await run('assert', 'SPX/NPS1')).toMatchObject({
      exitCode: 5,
      document: { error: { code: 'ERR_LAYOUT_DIFFERS', kind: 'conflict' } },
    });
    expect((await run('history')).document).toMatchObject({
      repartitions: [{ outcome: 'applied', steps: 1 }],
    });
    expect((await run('rollback')).document).toMatchObject({
      cards: [{ layout: { compute: 'SPX', memory: 'NPS1' } }],
    });
  }, 60_000);

  it('applies a stored plan once, and refuses one that was changed or is no longer true', async () => {
    const { document } = await run('plan', 'QPX/NPS1');
    const file = io.write('plan.json', JSON.stringify(document));
    expect((await run('apply', '--plan', file, '--dry-run')).document).toEqual(document);
    expect(await run('apply', '--plan', file)).toMatchObject({
      exitCode: 0,
      document: { plan: document['id'], outcome: 'applied' },
    });
    expect((await run('apply', '--plan', file)).document).toMatchObject({
      outcome: 'already-applied',
    });
    await run('apply', 'SPX/NPS1');
    expect(await run('apply', '--plan', file)).toMatchObject({
      exitCode: 5,
      document: { error: { code: 'ERR_GENERATION_STALE' } },
    });
    for (const text of ['{', '[]', JSON.stringify({ ...document, expectedMs: 1 })]) {
      expect(await run('apply', '--plan', io.write('other.json', text))).toMatchObject({
        exitCode: 2,
        document: { error: { code: 'ERR_CONFIG_INVALID' } },
      });
    }
    expect(await run('apply', '--plan', 'none.json')).toMatchObject({
      exitCode: 4,
      document: { error: { code: 'ERR_FILE_MISSING' } },
    });
  }, 60_000);

  it('exports layouts, and restores them from the file or from what the first change kept', async () => {
    expect(await run('export', '--out', 'layouts.json').catch(() => null)).toBeNull();
    expect(existsSync(path.join(io.directory, 'layouts.json'))).toBe(true);
    expect((await run('export')).document).toMatchObject({
      kind: 'LayoutSpec',
      node: 'node-a',
      cards: [{ id: CARD, product: 'MI300X', layout: { compute: 'SPX', memory: 'NPS1' } }],
    });
    await run('apply', 'CPX/NPS1');
    expect(await run('assert', '--file', 'layouts.json')).toMatchObject({ exitCode: 5 });
    expect((await run('restore')).document).toMatchObject({
      cards: [{ layout: { compute: 'SPX' } }],
    });
    expect(await run('assert', '--file', 'layouts.json')).toMatchObject({ exitCode: 0 });
  }, 60_000);

  it.each([
    [['plan', 'ZPX/NPS1'], 'ERR_USAGE', 2],
    [['plan'], 'ERR_USAGE', 2],
    [['plan', 'TPX/NPS1'], 'ERR_LAYOUT_UNSUPPORTED', 6],
    [['plan', '0000:ff:00.0=CPX/NPS1'], 'ERR_DEVICE_UNKNOWN', 4],
    [['plan', '--file', 'nowhere.json'], 'ERR_FILE_MISSING', 4],
    [['rollback'], 'ERR_HISTORY_EMPTY', 4],
    [['restore'], 'ERR_HISTORY_EMPTY', 4],
  ])('%j is %s', async (argv, code, exitCode) => {
    expect(await run(...argv)).toMatchObject({ exitCode, document: { error: { code } } });
  });

  it('a unit that cannot be stopped keeps the layouts as they are', async () => {
    const refused = await run('apply', 'CPX/NPS1', '--stop-unit', 'no-such.service');
    expect(refused).toMatchObject({
      exitCode: 8,
      document: { error: { code: 'ERR_HOOK_FAILED' } },
    });
    expect(await run('assert', 'SPX/NPS1')).toMatchObject({ exitCode: 0 });
  }, 60_000);
});
