/**
 * `aim-gpu simulate DIR`: a simulated machine as a live directory, for every command that takes `--root`, until Ctrl-C.
 * The machine is kept in the directory: started again it goes on as it was, also after kill -9.
 */
import path from 'node:path';
import { AimError, cardId, hiveId, nodeName, type SimulatedCard } from '@aim-gpu/core';
import { createFileStateStore } from '@aim-gpu/core/node';
import { findProduct, PRODUCTS } from '@aim-gpu/core/products';
import { createSimulatedDriver, NEWEST_KERNEL, ROCM_6_KERNEL } from '@aim-gpu/driver-simulated';
import { createClosers } from '../closers.js';
import type { CommandContext } from '../context.js';
import { createStop } from '../stop.js';

/** Options of `simulate`. */
export interface SimulateOptions {
  readonly product: string;
  readonly cards: number;
  readonly kernel: string;
  readonly realisticTiming?: boolean;
  /** Switch the machine off and on first: everything but its cards is lost. */
  readonly reboot?: boolean;
}

const KERNELS = { newest: NEWEST_KERNEL, 'rocm-6': ROCM_6_KERNEL } as const;
const MOST_CARDS = 8;

/**
 * Runs `simulate` until it is told to stop. Throws `ERR_CONFIG_INVALID` (invalid) for an unknown product or kernel or a
 * wrong number of cards, `ERR_TREE_OCCUPIED` (conflict) for a directory with other files in it.
 */
export async function simulate(
  context: CommandContext,
  directory: string,
  options: SimulateOptions,
): Promise<number> {
  const root = context.resolve(directory);
  const { clock, rng } = context;
  const stop = createStop(context);
  const closers = createClosers();
  closers.add(stop.forget);
  try {
    const driver = createSimulatedDriver({
      node: nodeName('simulated'),
      cards: toCards(options),
      store: createFileStateStore({ directory: path.join(root, '.machine'), clock }),
      clock,
      rng,
      timing: options.realisticTiming === true ? 'realistic' : 'short',
      kernel: toKernel(options.kernel),
    });
    closers.add(() => driver.close());
    const tree = await driver.materialize(root);
    if (options.reboot === true) {
      await driver.reboot();
      await tree.refresh();
    }
    if (context.json) {
      context.print({ event: 'ready', root: tree.directory, tools: tree.toolsDirectory });
    } else {
      context.say(
        `${options.cards} x ${options.product} in ${tree.directory}\nuse it with --driver rocm --root ${tree.directory}; Ctrl-C ends it`,
      );
    }
    await stop.reason;
  } finally {
    await closers.closeAll();
  }
  return 0;
}

function toCards({ product, cards }: SimulateOptions): readonly SimulatedCard[] {
  const found = findProduct(product);
  if (found === null) {
    throw invalid(`there is no product ${product}`, PRODUCTS.map((entry) => entry.name).join(', '));
  }
  if (cards < 1 || cards > MOST_CARDS) throw invalid(`${cards} cards`, `1 to ${MOST_CARDS}`);
  return Array.from({ length: cards }, (_, index) => ({
    id: cardId(`0000:${(0x0c + index * 16).toString(16).padStart(2, '0')}:00.0`),
    product: found.name,
    hive: hiveId('0x1'),
  }));
}

function toKernel(name: string): (typeof KERNELS)[keyof typeof KERNELS] {
  const known = Object.entries(KERNELS).find(([key]) => key === name);
  if (known === undefined)
    throw invalid(`there is no kernel ${name}`, Object.keys(KERNELS).join(', '));
  return known[1];
}

function invalid(message: string, allowed: string): AimError {
  return new AimError({
    code: 'ERR_CONFIG_INVALID',
    kind: 'invalid',
    message,
    hint: `it can be ${allowed}`,
  });
}
