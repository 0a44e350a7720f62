// How long planning a node of 8 cards takes, how many journal records (each one fsync) an apply writes for a step, and
// how long a file-backed apply takes without the machine's own time: `npm run -s bench -- repartition`.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { performance } from 'node:perf_hooks';
import { type Layout, type StateStore, systemClock, toLayout } from '@aim-gpu/core';
import { createFileStateStore } from '@aim-gpu/core/node';
import { anAssignment, aShare } from '@aim-gpu/core/testing';
import type { Bench } from '../../../tools/bench.js';
import { applyRepartition, planRepartition, type RepartitionPlan } from '../src/index.js';
import { aModel, createModelDriver, toInventory } from '../test/model-machine.js';

const CARDS = 8;
const INSTANCES_PER_CARD = 8;

/** Plans of a whole node: a compute switch of every card, and a memory switch with reload. */
function wishes(text: string) {
  const inventory = toInventory(aModel(CARDS, 1));
  const layout = toLayout(text) as Layout;
  return {
    inventory,
    desired: inventory.cards.map((card) => ({ card: card.id, layout })),
    assignments: inventory.cards.flatMap((card) =>
      Array.from({ length: INSTANCES_PER_CARD }, () =>
        anAssignment({ shares: [aShare({ node: inventory.node, card: card.id })] }),
      ),
    ),
  };
}

function planOnce(options: ReturnType<typeof wishes>): RepartitionPlan {
  const result = planRepartition(options);
  if (!result.ok) throw new Error(JSON.stringify(result.reasons));
  return result.plan;
}

function spread(values: readonly number[]): { medianMs: number; lowMs: number; highMs: number } {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share: number): number => sorted[Math.floor((sorted.length - 1) * share)] ?? 0;
  return { medianMs: at(0.5), lowMs: at(0.05), highMs: at(0.95) };
}

async function applyOnce(
  directory: string,
): Promise<{ ms: number; appends: number; steps: number }> {
  const inner = createFileStateStore({ directory, clock: systemClock });
  let appends = 0;
  const store: StateStore = {
    ...inner,
    journal: (name) => {
      const whole = inner.journal<never>(name);
      return {
        ...whole,
        append: (record) => {
          appends += 1;
          return whole.append(record as never);
        },
      };
    },
  };
  const driver = createModelDriver(aModel(CARDS, 1));
  const inventory = await driver.discover();
  const plan = planOnce({ ...wishes('QPX/NPS4'), inventory, assignments: [] });
  const started = performance.now();
  const result = await applyRepartition({
    plan,
    driver,
    store,
    clock: systemClock,
    drain: async () => undefined,
  });
  if (!result.ok) throw new Error(result.outcome);
  const steps = driver.calls.length;
  return { ms: performance.now() - started, appends, steps };
}

/** The repartition bench. */
export const bench: Bench = {
  name: 'repartition',
  summary: 'planning a node of 8 cards, journal records of a step, an apply on disk',
  run: async ({ full }) => {
    const rows: Record<string, unknown>[] = [];
    const rounds = full ? 5000 : 1000;
    for (const text of ['CPX/NPS1', 'QPX/NPS4']) {
      const options = wishes(text);
      for (let round = 0; round < 200; round += 1) planOnce(options);
      const times = Array.from({ length: rounds }, () => {
        const started = performance.now();
        planOnce(options);
        return performance.now() - started;
      });
      const { steps } = planOnce(options);
      rows.push({ name: `plan 8 cards to ${text}`, ...spread(times), steps: steps.length });
    }
    const applies: Awaited<ReturnType<typeof applyOnce>>[] = [];
    for (let round = 0; round < 10; round += 1) {
      const directory = mkdtempSync(path.join(tmpdir(), 'aim-gpu-bench-'));
      try {
        applies.push(await applyOnce(directory));
      } finally {
        rmSync(directory, { recursive: true, force: true });
      }
    }
    const [first] = applies;
    rows.push({
      name: 'apply to QPX/NPS4 with a file-backed journal, machine time 0',
      ...spread(applies.map((apply) => apply.ms)),
      steps: first?.steps,
      // begin, drained and end beside the steps.
      journalRecords: first?.appends,
      recordsPerStep: first === undefined ? null : (first.appends - 3) / first.steps,
    });
    return { results: rows };
  },
};
