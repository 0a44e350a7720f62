/**
 * Puts what several places of an output say about a GPU together. The first value stays; a different one later is a
 * problem. Owns the rules that need all GPUs at once.
 */
import type { Problem } from '@aim-gpu/core';
import type { AmdSmiGpu } from './report.js';

/** Some facts about one GPU, from one place; it is found by its index or, without one, by its address. */
type GpuFacts = { readonly [Key in keyof AmdSmiGpu]?: AmdSmiGpu[Key] | undefined };

/** Collects facts and problems. */
export interface GpuCollector {
  add(facts: GpuFacts, where: string): void;
  problem(code: string, message: string, where: string): void;
  /** The GPUs in order, and all problems. */
  finish(): { readonly gpus: readonly AmdSmiGpu[]; readonly problems: readonly Problem[] };
}

type Draft = { -readonly [Key in keyof AmdSmiGpu]: AmdSmiGpu[Key] };

const SCALARS = [
  'index',
  'pci',
  'uuid',
  'partitionId',
  'compute',
  'memory',
  'memoryTotalBytes',
] as const;
// Junk must not make a report larger than what it was read from.
const MAX_PROBLEMS = 200;

/** Makes an empty collector. */
export function createGpuCollector(): GpuCollector {
  const drafts: Draft[] = [];
  const byIndex = new Map<number, Draft>();
  const byPci = new Map<string, Draft>();
  const problems: Problem[] = [];
  const told = new Set<string>();
  const problem = (code: string, message: string, where: string): void => {
    // Once is enough for what is the same of every GPU.
    if (problems.length >= MAX_PROBLEMS || told.has(`${code} ${message}`)) return;
    told.add(`${code} ${message}`);
    problems.push({ code, message, where });
  };

  const draftOf = (facts: GpuFacts): Draft | null => {
    const { index = null, pci = null } = facts;
    if (index === null && pci === null) return null;
    const known =
      index === null
        ? byPci.get(pci ?? '')
        : (byIndex.get(index) ?? unnumbered(byPci.get(pci ?? '')));
    if (known !== undefined) return known;
    const draft: Draft = {
      index: null,
      pci: null,
      uuid: null,
      partitionId: null,
      compute: null,
      memory: null,
      memoryTotalBytes: null,
    };
    drafts.push(draft);
    return draft;
  };

  return {
    problem,
    add: (facts, where) => {
      const draft = draftOf(facts);
      if (draft === null) {
        problem('GPU_UNNAMED', 'facts about a GPU with neither a number nor an address', where);
        return;
      }
      for (const key of SCALARS) {
        const value = facts[key] ?? null;
        if (value === null) continue;
        if (draft[key] === null) Object.assign(draft, { [key]: value });
        else if (draft[key] !== value) {
          const message = `${key} of ${nameOf(draft)} is ${draft[key]} in one place and ${value} in another`;
          problem('VALUES_DISAGREE', message, where);
        }
      }
      if (facts.profiles !== undefined && facts.profiles.length > 0)
        draft.profiles ??= facts.profiles;
      if (facts.processes !== undefined)
        draft.processes = [...(draft.processes ?? []), ...facts.processes];
      if (draft.index !== null) byIndex.set(draft.index, draft);
      if (draft.pci !== null && !byPci.has(draft.pci)) byPci.set(draft.pci, draft);
    },
    finish: () => {
      dropSharedUuids(drafts);
      for (const draft of drafts) {
        if (isFirstOfSplitCard(draft) && draft.memoryTotalBytes !== null) {
          const message = `the memory of ${nameOf(draft)} in ${draft.compute} may be that of the whole card: take a partition's capacity from KFD`;
          problem('MEMORY_TOTAL_OF_CARD', message, nameOf(draft));
        }
      }
      const last = Number.POSITIVE_INFINITY;
      return { gpus: drafts.sort((a, b) => compare(a.index ?? last, b.index ?? last)), problems };
    },
  };
}

function unnumbered(draft: Draft | undefined): Draft | undefined {
  return draft?.index === null ? draft : undefined;
}

/** Before ROCm 7.0 all partitions of a card show one UUID, which then names none of them. */
function dropSharedUuids(drafts: readonly Draft[]): void {
  const counts = new Map<string, number>();
  for (const { uuid } of drafts)
    if (uuid !== null) counts.set(uuid.toLowerCase(), (counts.get(uuid.toLowerCase()) ?? 0) + 1);
  for (const draft of drafts)
    if (draft.uuid !== null && (counts.get(draft.uuid.toLowerCase()) ?? 0) > 1) draft.uuid = null;
}

function isFirstOfSplitCard(draft: Draft): boolean {
  const place = draft.partitionId ?? (draft.pci === null ? null : Number(draft.pci.slice(-1)));
  return draft.compute !== null && draft.compute !== 'SPX' && place === 0;
}

function nameOf(draft: Draft): string {
  return draft.index === null ? `GPU ${draft.pci}` : `GPU ${draft.index}`;
}

function compare(a: number, b: number): number {
  return a === b ? 0 : a - b;
}
