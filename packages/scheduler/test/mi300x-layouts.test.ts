/**
 * Every layout an MI300X may have × two to four models of the quickstart's size: who is placed meets its SLO and is not
 * slowed down beyond the policy, and who is not has a reason.
 */
import { BANDS, type Band, formatLayout, ratio, type Slo } from '@aim-gpu/core';
import { findProduct, partitionGeometry } from '@aim-gpu/core/products';
import { aCard, anInventory } from '@aim-gpu/core/testing';
import { describe, expect, it } from 'vitest';
import { planFleet } from '../src/index.js';
import { aProblem, type ModelWords } from './support/problems.js';

const product = findProduct('MI300X');
if (product === null) throw new Error('MI300X is not in the catalogue');

/** Sizes, bands and loads like those of examples/quickstart. */
const MODELS: readonly (ModelWords & { readonly tpotMs: number })[] = [
  { name: 'assistant', gib: 36, band: 'interactive', requestsPerSecond: 0.5, tpotMs: 50 },
  { name: 'coder', gib: 40, band: 'standard', requestsPerSecond: 0.3, tpotMs: 100 },
  { name: 'writer', gib: 40, band: 'batch', requestsPerSecond: 0.05, tpotMs: 400 },
  { name: 'guard', gib: 5, band: 'critical', requestsPerSecond: 1, tpotMs: 50 },
  { name: 'drafts', gib: 7, band: 'best_effort', requestsPerSecond: 0.1, tpotMs: 400 },
];

function subsets(): readonly (typeof MODELS)[] {
  return Array.from({ length: 2 ** MODELS.length }, (_, bits) =>
    MODELS.filter((_model, index) => (bits & (2 ** index)) !== 0),
  ).filter((list) => list.length >= 2 && list.length <= 4);
}

const urgent = (band: Band): boolean => BANDS.indexOf(band) <= BANDS.indexOf('interactive');

describe.each(product.layouts.map((layout) => ({ layout, name: formatLayout(layout) })))(
  'MI300X in $name',
  ({ layout }) => {
    it.each(
      subsets().map((models) => ({ models, names: models.map(({ name }) => name).join(' ') })),
    )('$names', ({ models }) => {
      const partitions = partitionGeometry(product, layout).map((partition) => ({
        index: partition.index,
        xcds: partition.xcds,
        computeUnits: partition.computeUnits,
        memoryBytes: partition.memoryBytes,
        renderMinor: null,
        uuid: null,
        kfdNode: null,
      }));
      const problem = aProblem({
        models: models.map(({ tpotMs, ...model }) => {
          const slo: Slo = { ttftMs: null, tpotMs, e2eMs: null, objective: ratio(0.99) };
          return { ...model, workload: { slo } };
        }),
        inventories: [
          anInventory({
            cards: [aCard({ product: 'MI300X', layout, partitions, writable: false })],
          }),
        ],
        policy: { slowdown: ratio(0.1), repartition: { allow: false, maxDowntimeMs: 0 } },
      });
      const plan = planFleet(problem);
      for (const { workload, predicted } of plan.placements) {
        const model = problem.fleet.models.find(({ name }) => name === workload);
        const target = model?.slo.tpotMs ?? 0;
        expect(predicted.tpotMs).toBeLessThanOrEqual(target);
        if (urgent(model?.band ?? 'batch'))
          expect(predicted.tpotMs / predicted.aloneTpotMs - 1).toBeLessThanOrEqual(0.1);
      }
      for (const { reasons } of plan.unplaced) {
        expect(reasons[0]?.code).toMatch(/^(does-not-fit|no-room|slowdown)$/);
        expect(reasons[0]?.fix).toMatch(/\S/);
      }
      expect(plan.placements.length + plan.unplaced.length).toBe(models.length);
    });
  },
);
