/**
 * The journal on disk, cut off at every byte, with every byte flipped, and on a disk that takes no more: what is read is
 * a true beginning of what was written or an error that says so, and the node gets to the old or the new layouts.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { AimError, type Layout, type StateStore, systemClock, toLayout } from '@aim-gpu/core';
import { createFileStateStore } from '@aim-gpu/core/node';
import { createManualClock } from '@aim-gpu/core/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  applyRepartition,
  planRepartition,
  type RepartitionOptions,
  type RepartitionPlan,
  type RepartitionRecord,
  readRepartitionHistory,
  recoverRepartition,
} from '../src/index.js';
import { aModel, createModelDriver, type ModelDriver, type ModelMachine } from './model-machine.js';

const WANTED = 'QPX/NPS4 CPX/NPS4';
const OLD = 'SPX/NPS1 SPX/NPS1';
const shown = (machine: ModelMachine): string =>
  machine.map((card) => `${card.compute}/${card.memory}`).join(' ');

let directory: string;
/** The journal as a process left it that died behind the reload, and the machine as it was then. */
let journal: Buffer;
let written: readonly RepartitionRecord[];
let machine: ModelMachine;
let file: string;

beforeAll(async () => {
  directory = mkdtempSync(path.join(tmpdir(), 'aim-gpu-journal-'));
  const store = createFileStateStore({ directory, clock: systemClock });
  const driver = createModelDriver(aModel(2, 1));
  const plan = await planFor(driver);
  // Dead behind the reload: the next change is never made, nor is anything written any more.
  let dead = false;
  driver.intercept = (operation) => {
    dead ||= operation.kind === 'set-compute';
    if (dead) throw new Error('dead');
    return null;
  };
  const dying: StateStore = {
    ...store,
    journal: (name) => {
      const whole = store.journal<never>(name);
      return {
        ...whole,
        append: (record) =>
          dead ? Promise.reject(new Error('dead')) : whole.append(record as never),
      };
    },
  };
  await applyRepartition({ ...optionsOf(driver, dying), plan }).catch(() => undefined);
  machine = driver.machine();
  written = await readRepartitionHistory(store);
  file = path.join(
    directory,
    readdirSync(directory).find((name) => name.startsWith('repartition')) ?? '',
  );
  journal = readFileSync(file);
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

async function planFor(driver: ModelDriver): Promise<RepartitionPlan> {
  const inventory = await driver.discover();
  const wanted = WANTED.split(' ');
  const result = planRepartition({
    inventory,
    desired: inventory.cards.map((card, index) => ({
      card: card.id,
      layout: toLayout(wanted[index] ?? '') as Layout,
    })),
    assignments: [],
  });
  if (!result.ok) throw new Error(JSON.stringify(result.reasons));
  return result.plan;
}

const optionsOf = (driver: ModelDriver, store: StateStore): RepartitionOptions => ({
  driver,
  store,
  clock: createManualClock(),
  drain: async () => undefined,
});

/** What becomes of the node with this journal: read, recovered, and planned anew where nothing is known any more. */
async function startWith(content: Buffer): Promise<'corrupt' | 'recovered' | 'planned anew'> {
  writeFileSync(file, content);
  const store = createFileStateStore({ directory, clock: systemClock });
  const driver = createModelDriver(machine);
  let records: readonly RepartitionRecord[];
  try {
    records = await readRepartitionHistory(store);
  } catch (error) {
    if (!AimError.is(error, 'ERR_STATE_CORRUPT')) throw error;
    await expect(recoverRepartition(optionsOf(driver, store))).rejects.toMatchObject({
      code: 'ERR_STATE_CORRUPT',
    });
    expect(driver.calls).toEqual([]);
    return 'corrupt';
  }
  // Never a record that was not written.
  expect(records).toEqual(written.slice(0, records.length));
  const recovered = await recoverRepartition(optionsOf(driver, store));
  if (recovered !== null) {
    expect([OLD, WANTED]).toContain(shown(driver.machine()));
    return 'recovered';
  }
  const plan = await planFor(driver);
  const applied = await applyRepartition({ ...optionsOf(driver, store), plan });
  expect(applied.ok).toBe(true);
  expect(shown(driver.machine())).toBe(WANTED);
  return 'planned anew';
}

describe('the journal of a repartition that was killed behind its reload', () => {
  it('was left in the middle', () => {
    expect(written.map((record) => record.type)).toEqual([
      'begin',
      'drained',
      'step',
      'step',
      'step',
    ]);
    expect([OLD, WANTED]).not.toContain(shown(machine));
  });

  it('cut off at every byte', { timeout: 60_000 }, async () => {
    const ends = new Map<string, number>();
    // Each byte near the ends of records, where cuts differ, and every seventh between them.
    const newlines = [...journal.keys()].filter((at) => journal[at] === 0x0a);
    for (let length = 0; length <= journal.length; length += 1) {
      const near = newlines.some((at) => Math.abs(at - length) <= 8);
      if (!near && length % 7 !== 0) continue;
      const end = await startWith(journal.subarray(0, length));
      ends.set(end, (ends.get(end) ?? 0) + 1);
    }
    expect(ends.get('recovered')).toBeGreaterThan(10);
    expect(ends.get('planned anew')).toBeGreaterThan(10);
    expect(ends.get('corrupt')).toBeUndefined();
  });

  it('with a bit of every eleventh byte flipped', { timeout: 60_000 }, async () => {
    const ends = new Map<string, number>();
    for (let at = 0; at < journal.length; at += 11) {
      const flipped = Buffer.from(journal);
      flipped[at] = (flipped[at] ?? 0) ^ (1 << (at % 8));
      const end = await startWith(flipped);
      ends.set(end, (ends.get(end) ?? 0) + 1);
    }
    // A torn last record is dropped; anywhere else it is said, and nothing is changed.
    expect(ends.get('corrupt')).toBeGreaterThan(10);
  });
});

describe('a disk that takes no more', () => {
  it('at any record leaves the old or the new layouts for the next start', async () => {
    for (let point = 0; point < 8; point += 1) {
      writeFileSync(file, '');
      const store = createFileStateStore({ directory, clock: systemClock });
      let appends = 0;
      const full: StateStore = {
        ...store,
        journal: (name) => {
          const whole = store.journal<never>(name);
          return {
            ...whole,
            append: (record) => {
              appends += 1;
              if (appends <= point) return whole.append(record as never);
              return Promise.reject(
                new AimError({ code: 'ERR_STATE_IO', kind: 'unavailable', message: 'ENOSPC' }),
              );
            },
          };
        },
      };
      const driver = createModelDriver(aModel(2, 1));
      const plan = await planFor(driver);
      await applyRepartition({ ...optionsOf(driver, full), plan }).catch((error: unknown) => {
        expect(AimError.is(error, 'ERR_STATE_IO')).toBe(true);
      });
      // Nothing was changed that was not written down first.
      if (point < 3) expect(driver.calls).toEqual([]);
      await recoverRepartition(optionsOf(driver, store));
      expect([OLD, WANTED], `full at record ${point}`).toContain(shown(driver.machine()));
    }
  });
});
