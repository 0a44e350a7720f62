/**
 * The journal of a few operations, on disk, cut off or damaged at any of its bytes, and an agent that has to start with
 * it while the engines it names run. Owns what is expected of each: a cut is repaired, damage is refused.
 */
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { AimError, type Fleet, type LaunchCommand, workloadName } from '@aim-gpu/core';
import { createFileStateStore } from '@aim-gpu/core/node';
import { aWorkload, createMemoryStateStore } from '@aim-gpu/core/testing';
import { createAssigned } from '../../src/assigned.js';
import { createCrashingHost, first } from './crashing-host.js';
import { createFakeLauncher, type FakeLauncher } from './fake-launcher.js';

/** How the agents started. */
export interface BrokenJournalRun {
  readonly bytes: number;
  readonly records: number;
  readonly cases: number;
  /** Cuts after which every engine was taken over, and those after which some were started anew. */
  readonly cuts: { readonly allAdopted: number; readonly someAnew: number };
  readonly flips: { readonly refused: number; readonly torn: number };
  readonly desiredFlipsRefused: number;
}

const JOURNAL = 'assigned.jsonl';
const DESIRED = 'desired.json';
const plain = (name: string) =>
  aWorkload({ name: workloadName(name), source: 'meta-llama/Llama-3.2-1B-Instruct' });

/** Breaks it at every `stride`th byte. Throws at the first start that is not as expected. */
export async function breakJournal(options: {
  readonly stride: number;
  readonly signal?: AbortSignal;
  readonly log?: (line: string) => void;
}): Promise<BrokenJournalRun> {
  const { stride, signal, log } = options;
  const root = mkdtempSync(path.join(tmpdir(), 'aim-gpu-journal-'));
  try {
    const original = await record(path.join(root, 'original'));
    const { journal, desired } = original;
    const cuts = { allAdopted: 0, someAnew: 0 };
    const flips = { refused: 0, torn: 0 };
    let desiredFlipsRefused = 0;
    let cases = 0;
    const at = async (what: string, work: () => Promise<void>): Promise<void> => {
      try {
        await work();
      } catch (error) {
        const message = error instanceof Error ? error.message : String(error);
        throw new Error(`${what}: ${message}`, { cause: error });
      }
      cases += 1;
      if (cases % 1000 === 0) log?.(`${cases} starts`);
    };
    const offsets = (length: number): readonly number[] =>
      Array.from({ length }, (_, index) => index).filter(
        (index) => index % stride === 0 && signal?.aborted !== true,
      );
    const ends = offsetsAfterLines(journal);
    for (const length of new Set([...offsets(journal.length + 1), ...ends])) {
      await at(`cut to ${length} bytes`, async () => {
        const kept = await startCut(original, path.join(root, 'cut'), journal.subarray(0, length));
        if (kept) cuts.allAdopted += 1;
        else cuts.someAnew += 1;
      });
    }
    for (const index of new Set([...offsets(journal.length), ...ends.map((end) => end - 1)])) {
      await at(`byte ${index} flipped`, async () => {
        const damaged = flip(journal, index);
        const outcome = await startDamaged(original, path.join(root, 'flip'), { journal: damaged });
        const torn = index === journal.length - 1;
        if (outcome !== (torn ? 'started' : 'refused')) throw new Error(`it was ${outcome}`);
        if (torn) flips.torn += 1;
        else flips.refused += 1;
      });
    }
    for (const index of offsets(desired.length)) {
      await at(`byte ${index} of the desired state flipped`, async () => {
        const damaged = flip(desired, index);
        const outcome = await startDamaged(original, path.join(root, 'wish'), { desired: damaged });
        if (outcome !== 'refused') throw new Error(`it was ${outcome}`);
        desiredFlipsRefused += 1;
      });
    }
    const records = ends.length;
    return { bytes: journal.length, records, cases, cuts, flips, desiredFlipsRefused };
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

interface Original {
  readonly directory: string;
  readonly journal: Buffer;
  readonly desired: Buffer;
  readonly fleet: Fleet;
  readonly machine: ReturnType<typeof createMemoryStateStore>;
  readonly launches: readonly {
    readonly name: string;
    readonly command: LaunchCommand;
    readonly alive: boolean;
  }[];
}

/** A few operations, whose journal has every kind of record. */
async function record(directory: string): Promise<Original> {
  const machine = createMemoryStateStore();
  const host = createCrashingHost({
    fleet: (made) => ({ ...made, models: [plain('chat'), plain('gone')] }),
    files: createFileStateStore({ directory }),
    machine,
  });
  await host.bringUp();
  const fleet = { ...host.fleet, models: [plain('chat'), plain('code')] };
  await host.run(host.bench().agent.applyFleet(fleet));
  await host.untilWhole();
  await host.run(host.bench().agent.restart(first('chat')));
  host.processes.alive()[0]?.crash();
  await host.advance(100);
  await host.untilWhole();
  host.life().end();
  return {
    directory,
    journal: readFileSync(path.join(directory, JOURNAL)),
    desired: readFileSync(path.join(directory, DESIRED)),
    fleet,
    machine,
    launches: host.processes.launched.map((each) => ({
      name: each.name,
      command: each.command,
      alive: each.alive(),
    })),
  };
}

/** The host as it was, with other files. */
async function hostWith(
  original: Original,
  directory: string,
  files: { readonly journal?: Buffer; readonly desired?: Buffer },
) {
  mkdirSync(directory, { recursive: true });
  copyFileSync(path.join(original.directory, DESIRED), path.join(directory, DESIRED));
  writeFileSync(path.join(directory, JOURNAL), files.journal ?? original.journal);
  if (files.desired !== undefined) writeFileSync(path.join(directory, DESIRED), files.desired);
  const processes: FakeLauncher = createFakeLauncher();
  for (const { name, command, alive } of original.launches) {
    await processes.launch(command, { name, logFile: null });
    if (!alive) processes.last().crash();
  }
  const { machine } = original;
  const store = createFileStateStore({ directory });
  const host = createCrashingHost({
    fleet: () => original.fleet,
    files: store,
    machine,
    processes,
  });
  return { host, store, before: processes.alive().map(({ pid }) => pid) };
}

/** True when every engine that ran was taken over. */
async function startCut(original: Original, directory: string, journal: Buffer): Promise<boolean> {
  const { host, store, before } = await hostWith(original, directory, { journal });
  const named = (await createAssigned(store).load()).flatMap(({ process }) =>
    process !== null && before.includes(process.mark.pid) ? [process.mark.pid] : [],
  );
  await host.run(host.bench().agent.open());
  await host.untilWhole();
  await host.compare();
  const after = Object.values(host.pids());
  const lost = named.filter((pid) => !after.includes(pid));
  if (lost.length > 0) throw new Error(`${lost.join()} were in the journal and were not kept`);
  host.life().end();
  return before.every((pid) => after.includes(pid));
}

async function startDamaged(
  original: Original,
  directory: string,
  files: { readonly journal?: Buffer; readonly desired?: Buffer },
): Promise<'started' | 'refused'> {
  const { host, before } = await hostWith(original, directory, files);
  try {
    await host.run(host.bench().agent.open());
    await host.untilWhole();
    await host.compare();
    host.life().end();
    return 'started';
  } catch (error) {
    if (!AimError.is(error, 'ERR_STATE_CORRUPT')) throw error;
    if (error.hint === undefined || error.details['path'] === undefined) {
      throw new Error('the refusal says neither where nor what to do', { cause: error });
    }
    const after = Object.values(host.pids());
    if (JSON.stringify(after) !== JSON.stringify(before)) {
      throw new Error('a refused start touched engines', { cause: error });
    }
    return 'refused';
  }
}

function flip(content: Buffer, index: number): Buffer {
  const damaged = Buffer.from(content);
  damaged[index] = (content[index] ?? 0) ^ (1 << (index % 8));
  return damaged;
}

function offsetsAfterLines(content: Buffer): readonly number[] {
  return [...content.entries()].flatMap(([index, byte]) => (byte === 0x0a ? [index + 1] : []));
}
