/**
 * `aim-gpu conformance`: runs the conformance cases against the cards of this host and writes a report fit for an issue.
 * Only reads unless `--destructive` is given; then every card is brought back to the layout it had.
 */
import { writeFile } from 'node:fs/promises';
import {
  AimError,
  formatLayout,
  type GpuDriver,
  type Inventory,
  type Layout,
  nodeName,
} from '@aim-gpu/core';
import { findProduct } from '@aim-gpu/core/products';
import {
  bringIntoLayout,
  type ConformanceCase,
  type ConformanceResult,
  type ConformanceSubject,
  conformanceCases,
  runConformanceCase,
} from '@aim-gpu/core/testing';
import { examineHost } from '@aim-gpu/driver-rocm';
import type { CommandContext } from '../context.js';
import { type DriverOptions, openNode } from '../drivers.js';
import { openRocmHost } from '../rocm-host.js';

/** Options of `conformance`. */
export interface ConformanceOptions extends DriverOptions {
  readonly driver?: string;
  /** Also run the cases that change layouts. */
  readonly destructive?: boolean;
  readonly busyScope?: string;
  readonly out?: string;
}

interface Outcome {
  readonly group: string;
  readonly name: string;
  readonly result: ConformanceResult;
}

/** Runs `conformance`. Exit code 0 when no case failed, 70 when one did, 4 when there is no card. */
export async function conformance(
  context: CommandContext,
  options: ConformanceOptions,
): Promise<number> {
  const node = nodeName(context.io.hostName);
  const kind = options.driver === 'simulated' ? 'simulated' : 'rocm';
  const { driver, simulated } = openNode(context, { name: node, driver: kind, cards: [] }, options);
  try {
    const before = await driver.discover();
    const machine = describeMachine(before, options.busyScope);
    const subject: ConformanceSubject = {
      driver,
      clock: context.clock,
      hold:
        simulated === null
          ? null
          : (card) => simulated.hold({ card, pid: process.pid, command: 'conformance' }),
      fault: null,
      reboot: null,
      unprivileged: null,
    };
    const outcomes: Outcome[] = [];
    for (const one of conformanceCases(machine)) {
      const result = await runOne(one, subject, options, machine.start);
      outcomes.push({ group: one.group, name: one.name, result });
      if (result.outcome === 'failed') context.say(`failed: ${one.group}: ${one.name}`);
    }
    const restored = options.destructive === true ? await restore(driver, before) : null;
    const host = await describeHost(context, options, kind);
    const report = toReport({ host, inventory: before, outcomes, restored });
    if (options.out !== undefined) await writeFile(context.resolve(options.out), report);
    const counts = countOutcomes(outcomes);
    if (context.json) context.print({ ...counts, restored, cases: outcomes });
    else context.say(report);
    return counts.failed === 0 && restored === null ? 0 : 70;
  } finally {
    await driver.close();
  }
}

function describeMachine(
  { cards }: Inventory,
  busyScope: string | undefined,
): Parameters<typeof conformanceCases>[0] & { readonly start: Layout } {
  const [first] = cards;
  const product = findProduct(first?.product ?? '');
  if (first === undefined || product === null) {
    throw new AimError({
      code: 'ERR_DEVICE_UNKNOWN',
      kind: 'missing',
      message: first === undefined ? 'there is no card' : `${first.id} is of no known product`,
      hint: 'look at `aim-gpu doctor`',
    });
  }
  if (cards.some((card) => card.product !== first.product)) {
    throw new AimError({
      code: 'ERR_CONFIG_INVALID',
      kind: 'invalid',
      message: 'the cards of this node are of several products',
      hint: 'conformance is run on nodes of one product',
    });
  }
  return {
    product: product.name,
    cards: cards.length,
    hives: new Set(cards.map((card) => card.hive)).size,
    busyScope: busyScope === 'node' ? 'node' : 'card',
    start: product.initialLayout,
  };
}

async function runOne(
  one: ConformanceCase,
  subject: ConformanceSubject,
  options: ConformanceOptions,
  start: Layout,
): Promise<ConformanceResult> {
  if (one.destructive && options.destructive !== true)
    return { outcome: 'skipped', reason: 'it changes layouts: --destructive' };
  try {
    // Each case begins where a machine begins.
    const wrong = one.destructive ? await bringIntoLayout(subject.driver, start) : null;
    if (wrong !== null) return { outcome: 'failed', step: 0, message: `before it: ${wrong}` };
    return await runConformanceCase(one, subject);
  } catch (error) {
    if (!AimError.is(error)) throw error;
    // What this host does not allow is no fault of the driver.
    if (error.code === 'ERR_RELOAD_NOT_ALLOWED')
      return { outcome: 'skipped', reason: 'it takes --allow-driver-reload' };
    return { outcome: 'failed', step: 0, message: `${error.code}: ${error.message}` };
  }
}

/** Null when every card is as it was; else what is not. */
async function restore(driver: GpuDriver, before: Inventory): Promise<string | null> {
  try {
    let now = await driver.discover();
    const memory = before.cards[0]?.layout.memory;
    if (memory != null && now.cards.some((card) => card.layout.memory !== memory)) {
      for (const { id } of now.cards)
        now = await driver.stageMemoryMode(id, memory, { expect: now.generation });
      now = await driver.reload({ expect: now.generation });
    }
    for (const { id, layout } of before.cards) {
      if (layout.compute !== null)
        now = await driver.setComputeMode(id, layout.compute, { expect: now.generation });
    }
    const wrong = before.cards.filter((card) => {
      const after = now.cards.find((entry) => entry.id === card.id)?.layout;
      return after?.compute !== card.layout.compute || after.memory !== card.layout.memory;
    });
    return wrong.length === 0 ? null : `not as before: ${wrong.map((card) => card.id).join(', ')}`;
  } catch (error) {
    if (!AimError.is(error)) throw error;
    return `${error.code}: ${error.message}`;
  }
}

async function describeHost(
  context: CommandContext,
  options: ConformanceOptions,
  kind: 'simulated' | 'rocm',
): Promise<string> {
  if (kind === 'simulated') return 'simulated machine';
  const { root, files, commands } = openRocmHost(context, options);
  const node = nodeName(context.io.hostName);
  const { facts, tools } = await examineHost({ node, root, files, commands });
  return `kernel ${facts.kernelRelease ?? 'unknown'}, amdgpu ${facts.amdgpuVersion ?? 'of the kernel'}, amd-smi ${tools.version ?? 'none'}`;
}

function countOutcomes(outcomes: readonly Outcome[]): {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
} {
  const of = (outcome: ConformanceResult['outcome']): number =>
    outcomes.filter(({ result }) => result.outcome === outcome).length;
  return { passed: of('passed'), failed: of('failed'), skipped: of('skipped') };
}

/** Markdown: what was run on what, counts of each group, and every failure with its words. */
function toReport(options: {
  readonly host: string;
  readonly inventory: Inventory;
  readonly outcomes: readonly Outcome[];
  readonly restored: string | null;
}): string {
  const { host, inventory, outcomes, restored } = options;
  const cards = inventory.cards.map(({ id, product, layout }) => {
    const known = layout.compute !== null && layout.memory !== null;
    return `- ${id} ${product} ${known ? formatLayout({ compute: layout.compute, memory: layout.memory }) : 'layout unknown'}`;
  });
  const groups = [...new Set(outcomes.map((entry) => entry.group))].map((group) => {
    const { passed, failed, skipped } = countOutcomes(
      outcomes.filter((entry) => entry.group === group),
    );
    return `| ${group} | ${passed} | ${failed} | ${skipped} |`;
  });
  const failures = outcomes.flatMap(({ group, name, result }) =>
    result.outcome === 'failed'
      ? [`- ${group}: ${name} (step ${result.step}): ${result.message}`]
      : [],
  );
  const reasons = new Set(
    outcomes.flatMap(({ result }) => (result.outcome === 'skipped' ? [result.reason] : [])),
  );
  return [
    '# Conformance of this node',
    '',
    host,
    ...cards,
    '',
    '| group | passed | failed | skipped |',
    '|---|---|---|---|',
    ...groups,
    '',
    ...(failures.length === 0 ? ['No case failed.'] : ['## Failed', '', ...failures]),
    ...(reasons.size === 0 ? [] : ['', `Skipped because: ${[...reasons].join('; ')}.`]),
    ...(restored === null ? [] : ['', `The layouts could not be restored: ${restored}`]),
    '',
  ].join('\n');
}
