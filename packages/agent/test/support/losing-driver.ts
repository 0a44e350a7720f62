/** A driver that a test takes cards and partitions away from, or that cannot be read at all. */
import { AimError, type GpuDriver, type Inventory, type InventoryEvent } from '@aim-gpu/core';

export interface LosingDriver {
  readonly wrap: (driver: GpuDriver) => GpuDriver;
  /** Hides a card, or one partition of it. */
  lose(card: string, partition?: number): void;
  /** Brings everything back. */
  restore(): void;
  /** Every read fails. */
  fail(failing: boolean): void;
}

export function createLosingDriver(): LosingDriver {
  const lost = new Set<string>();
  const listeners = new Set<(event: InventoryEvent) => void>();
  let failing = false;
  let real: GpuDriver | null = null;
  const filter = (inventory: Inventory): Inventory => ({
    ...inventory,
    generation: `${inventory.generation}${[...lost].toSorted().join()}`,
    cards: inventory.cards
      .filter(({ id }) => !lost.has(id))
      .map((card) => ({
        ...card,
        partitions: card.partitions.filter(({ index }) => !lost.has(`${card.id}/${index}`)),
      })),
  });
  const discover: GpuDriver['discover'] = async (options) => {
    if (failing) {
      const message = 'reading the machine failed';
      throw new AimError({ code: 'ERR_DRIVER_IO', kind: 'unavailable', message });
    }
    if (real === null) throw new Error('nothing is wrapped yet');
    return filter(await real.discover(options));
  };
  const tell = async (): Promise<void> => {
    if (real === null) return;
    const after = filter(await real.discover());
    for (const listener of listeners) listener({ before: after, after });
  };
  const change = (work: () => void): void => {
    work();
    void tell();
  };
  return {
    wrap: (driver) => {
      real = driver;
      return {
        ...driver,
        discover,
        watch: (onEvent) => {
          listeners.add(onEvent);
          return () => void listeners.delete(onEvent);
        },
        setComputeMode: async (card, mode, options) => {
          // A card that is reset comes back whole.
          for (const each of [...lost]) if (each.startsWith(`${card}/`)) lost.delete(each);
          const { generation } = await driver.discover();
          return filter(
            await driver.setComputeMode(card, mode, { ...options, expect: generation }),
          );
        },
      };
    },
    lose: (card, partition) =>
      change(() => lost.add(partition === undefined ? card : `${card}/${partition}`)),
    restore: () => change(() => lost.clear()),
    fail: (now) =>
      change(() => {
        failing = now;
      }),
  };
}
