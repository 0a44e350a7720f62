import { AimError, bytes, instanceId, ratio, workloadName } from '@aim-gpu/core';
import { findProduct, PRODUCTS, partitionGeometry } from '@aim-gpu/core/products';
import { aCard, aDemand, anInventory, aPlacement, aShare, aWorkload } from '@aim-gpu/core/testing';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { assertShares, BARE_HOST, planEnvelope } from '../src/index.js';

const component = fc.integer({ min: 0, max: 6 * 2 ** 30 }).map(bytes);

/** What a vLLM that obeys its arguments ends up using: see sizing, "The budget identity". */
function usedBytes(total: number, utilization: number, demand: ReturnType<typeof aDemand>): number {
  return Math.ceil(total * utilization) + demand.memory.contextBytes + demand.memory.graphBytes;
}

it('obedient engines stay inside their shares, and together inside the partition', () => {
  let placed = 0;
  fc.assert(
    fc.property(
      fc.constantFrom(
        ...PRODUCTS.flatMap((product) =>
          product.layouts.map((layout) => ({ product: product.name, layout })),
        ),
      ),
      fc.double({ min: 0, max: 0.2, noNaN: true }),
      fc.array(
        fc.record({
          weight: fc.double({ min: 0.01, max: 1, noNaN: true }),
          weights: component,
          activation: component,
          context: component,
          graph: component,
          perToken: fc.integer({ min: 1, max: 400_000 }),
        }),
        { minLength: 1, maxLength: 6 },
      ),
      ({ product, layout }, reserve, tenants) => {
        const found = findProduct(product);
        if (found === null) throw new Error(product);
        const total = partitionGeometry(found, layout)[0]?.memoryBytes ?? bytes(0);
        const inventory = anInventory({ driver: 'rocm', cards: [aCard({ product, layout })] });
        const policy = { memoryReserve: ratio(reserve) };
        const sum = tenants.reduce((weights, tenant) => weights + tenant.weight, 0);
        const shares = tenants.map((tenant) =>
          aShare({
            memoryBytes: bytes(
              Math.floor((Math.floor(total * (1 - reserve)) * tenant.weight) / sum),
            ),
          }),
        );
        let together = 0;
        tenants.forEach((tenant, index) => {
          const share = shares[index];
          if (share === undefined) return;
          const memory = {
            weightsBytes: tenant.weights,
            activationBytes: tenant.activation,
            contextBytes: tenant.context,
            graphBytes: tenant.graph,
            kvMinimumBytes: bytes(tenant.perToken * 16),
          };
          const demand = aDemand({ memory, kv: { bytesPerToken: tenant.perToken } });
          const instance = instanceId(workloadName('chat'), index);
          try {
            const envelope = planEnvelope({
              placement: aPlacement({ instance, shares: [share] }),
              workload: aWorkload(),
              demand,
              inventory,
              policy,
              host: BARE_HOST,
            });
            const used = usedBytes(total, envelope.gpuMemoryUtilization, demand);
            expect(used).toBeLessThanOrEqual(share.memoryBytes);
            const { weightsBytes, activationBytes, nonTorchBytes, graphBytes, contextBytes } =
              demand.memory;
            const byKv =
              weightsBytes +
              activationBytes +
              nonTorchBytes +
              graphBytes +
              contextBytes +
              envelope.kvCacheMemoryBytes;
            expect(byKv).toBeLessThanOrEqual(share.memoryBytes);
            together += Math.max(used, byKv);
            placed += 1;
          } catch (error) {
            if (!AimError.is(error, 'ERR_DOES_NOT_FIT')) throw error;
            expect(share.memoryBytes).toBeLessThan(demand.memory.minimumBytes);
          }
        });
        expect(together).toBeLessThanOrEqual(total * (1 - reserve));
        expect(assertShares({ shares, inventory, policy })).toEqual([]);
      },
    ),
    { numRuns: 2000, seed: 20_261_125 },
  );
  expect(placed).toBeGreaterThan(1000);
});
