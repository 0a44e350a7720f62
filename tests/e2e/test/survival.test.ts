/**
 * What is left behind when `up` ends, however it ends: nothing that runs, and a state directory that the next one can
 * use.
 */
import { readdirSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createPlace, type Place, run } from './support/command.js';
import { processesOf, startUp, until } from './support/running.js';

const FLEET = `apiVersion: aim-gpu/v1alpha1
kind: Fleet
metadata: { name: survival }
nodes:
  - name: node-a
    driver: simulated
    cards: { product: MI300X, count: 1 }
models:
  - { name: one, source: meta-llama/Llama-3.2-1B-Instruct, concurrency: 2, maxModelLen: 2048, placement: { exclusive: true } }
  - { name: two, source: Qwen/Qwen3-1.7B, concurrency: 2, maxModelLen: 2048, placement: { exclusive: true } }
`;

let place: Place;
let fleet: string;
beforeEach(() => {
  place = createPlace();
  fleet = place.write('fleet.yaml', FLEET);
});
afterEach(() => place.remove());

describe('up', () => {
  it('leaves no engine 5 s after kill -9, and the next one starts clean', {
    timeout: 120_000,
  }, async () => {
    const first = await startUp(fleet, place.stateDirectory);
    expect(processesOf(place.stateDirectory).length).toBeGreaterThan(2);
    first.signal('SIGKILL');
    await first.exited;
    await until(
      'every process of it is gone',
      () => processesOf(place.stateDirectory).length === 0,
      5000,
    );

    const second = await startUp(fleet, place.stateDirectory);
    const status = await run(['status', '--json', '--state-dir', place.stateDirectory]);
    expect(JSON.parse(status.stdout)).toMatchObject({ state: 'ready', pid: second.pid });
    expect(await second.stop()).toBe(0);
  });

  it.each(['SIGINT', 'SIGTERM'] as const)(
    'drains, stops and releases on %s',
    { timeout: 60_000 },
    async (signal) => {
      const up = await startUp(fleet, place.stateDirectory);
      up.signal(signal);
      expect(await up.exited).toBe(0);
      expect(processesOf(place.stateDirectory)).toEqual([]);
      expect(readdirSync(place.stateDirectory).filter((name) => name.endsWith('.sock'))).toEqual(
        [],
      );
      expect(up.events.at(-1)).toMatchObject({ event: 'stopped' });
    },
  );

  it('is stopped by `down`, which keeps the layout', { timeout: 60_000 }, async () => {
    const up = await startUp(fleet, place.stateDirectory);
    const ended = await run(['down', '--json', '--state-dir', place.stateDirectory]);
    expect(ended.code).toBe(0);
    expect(await up.exited).toBe(0);
    expect(await layout()).not.toBe('SPX');
  });

  it('brings the layout back with `down --restore-layout`', { timeout: 60_000 }, async () => {
    const up = await startUp(fleet, place.stateDirectory);
    expect(await layout()).not.toBe('SPX');
    const ended = await run(['down', '--restore-layout', '--state-dir', place.stateDirectory]);
    expect(ended.code).toBe(0);
    expect(await up.exited).toBe(0);
    expect(await layout()).toBe('SPX');
  });
});

async function layout(): Promise<string | undefined> {
  const ended = await run([
    'gpus',
    '--driver',
    'simulated',
    '--json',
    '--state-dir',
    place.stateDirectory,
  ]);
  const { cards } = JSON.parse(ended.stdout) as { cards: { layout: { compute: string } }[] };
  return cards[0]?.layout.compute;
}
