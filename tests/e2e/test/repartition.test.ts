/**
 * Repartitions by the built command as real processes see them: killed in the middle, and two at once.
 */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { createPlace, type Ended, type Place, QUICKSTART, run, start } from './support/command.js';
import { processesOf, startUp, until } from './support/running.js';

let place: Place;
beforeEach(() => {
  place = createPlace();
});
afterEach(() => place.remove());

/** The records of the journal of repartitions, whole ones only. */
function records(): readonly string[] {
  try {
    const text = readFileSync(path.join(place.stateDirectory, 'repartition.jsonl'), 'utf8');
    return text.split('\n').slice(0, -1);
  } catch {
    return [];
  }
}

interface Status {
  readonly state: string;
  readonly instances: readonly { readonly instance: string }[];
}

interface Gpus {
  readonly cards: readonly {
    readonly layout: { readonly compute: string };
    readonly partitions: readonly unknown[];
  }[];
}

async function ask<T>(command: readonly string[]): Promise<T> {
  const ended = await run([...command, '--json', '--state-dir', place.stateDirectory]);
  expect(ended.code, ended.stderr).toBe(0);
  return JSON.parse(ended.stdout) as T;
}

it('the quickstart, killed in its repartition and again in taking it up, converges when started again', {
  timeout: 180_000,
}, async () => {
  const ports = ['--listen', '127.0.0.1:0', '--admin-listen', '127.0.0.1:0'];
  const args = ['up', QUICKSTART, '--json', '--state-dir', place.stateDirectory, ...ports];
  // The second one finds the first one's transaction open, and dies when it has just ended it.
  for (const last of ['"type":"begin"', '"type":"end"']) {
    const before = records().length;
    const child = start(args);
    const ended = new Promise((resolve) => child.once('close', resolve));
    await until(
      `${last} is in the journal`,
      () =>
        records()
          .slice(before)
          .some((line) => line.includes(last)),
      60_000,
    );
    child.kill('SIGKILL');
    await ended;
  }
  const up = await startUp(QUICKSTART, place.stateDirectory);
  const { state, instances } = await ask<Status>(['status']);
  expect(state).toBe('ready');
  const names = instances.map(({ instance }) => instance).sort();
  expect(names).toEqual(['assistant-0', 'coder-0', 'drafts-0', 'guard-0', 'writer-0']);
  const [card] = (await ask<Gpus>(['gpus', '--driver', 'simulated'])).cards;
  expect(card).toMatchObject({ layout: { compute: 'QPX' } });
  expect(card?.partitions).toHaveLength(4);
  expect(await up.stop()).toBe(0);
  expect(processesOf(place.stateDirectory)).toEqual([]);
});

it('of two commands at once one changes the layouts, the other names the holder', {
  timeout: 60_000,
}, async () => {
  const fleet = place.write(
    'fleet.yaml',
    `apiVersion: aim-gpu/v1alpha1
kind: Fleet
metadata: { name: pair }
nodes:
  - { name: node-a, driver: simulated, cards: { product: MI300X, count: 2 } }
models:
  - { name: tiny, source: meta-llama/Llama-3.2-1B-Instruct }
`,
  );
  const apply = (layout: string): Promise<Ended> =>
    run([
      ...['partition', 'apply', layout, '--fleet', fleet, '--json'],
      ...['--state-dir', place.stateDirectory],
    ]);
  const ends = await Promise.all([apply('CPX/NPS1'), apply('DPX/NPS1')]);
  expect(ends.map(({ code }) => code).sort()).toEqual([0, 5]);
  const refused = ends.find(({ code }) => code === 5);
  expect(JSON.parse(refused?.stdout ?? '')).toMatchObject({
    error: { code: 'ERR_STATE_LOCKED', kind: 'conflict', details: { pid: expect.any(Number) } },
  });
  const won = ends.findIndex(({ code }) => code === 0) === 0 ? 'CPX' : 'DPX';
  const { cards } = await ask<Gpus>(['gpus', fleet]);
  expect(cards.map(({ layout }) => layout.compute)).toEqual([won, won]);
});
