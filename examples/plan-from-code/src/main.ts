/**
 * Plans a fleet from code, without the command line and without effects: a fleet as text, sizes from the catalogue, a
 * simulated machine read through its driver, and a plan with the reason for each choice.
 *
 *   npm start -w example-plan-from-code
 */
import { createRng, formatBytes, formatLayout, systemClock } from '@aim-gpu/core';
import { createMemoryStateStore } from '@aim-gpu/core/testing';
import { createSimulatedDriver } from '@aim-gpu/driver-simulated';
import { parseFleet } from '@aim-gpu/fleet';
import { planFleet } from '@aim-gpu/scheduler';
import { createModelLibrary, sizeWorkload } from '@aim-gpu/sizing';

const FLEET = `
apiVersion: aim-gpu/v1alpha1
kind: Fleet
metadata: { name: from-code }
nodes:
  - { name: node-a, driver: simulated, cards: { product: MI300X, count: 2 } }
models:
  - { name: chat, source: meta-llama/Llama-3.1-8B-Instruct, band: interactive, expectedFill: 0.25, replicas: 2, placement: { exclusive: true } }
  - { name: code, source: Qwen/Qwen3-30B-A3B-FP8, band: standard, expectedFill: 0.1, placement: { apart: [bulk] } }
  - { name: bulk, source: Qwen/Qwen3-32B-FP8, band: batch, concurrency: 4, expectedFill: 0.25 }
`;

const { fleet } = parseFleet(FLEET, { file: 'fleet.yaml' });
const library = createModelLibrary();
const demands = new Map(
  await Promise.all(
    fleet.models.map(
      async (model) => [model.name, sizeWorkload(model, await library.load(model.source))] as const,
    ),
  ),
);
const inventories = await Promise.all(
  fleet.nodes.map((node) =>
    createSimulatedDriver({
      node: node.name,
      cards: node.cards,
      store: createMemoryStateStore(),
      clock: systemClock,
      rng: createRng(1),
      timing: 'short',
    }).discover(),
  ),
);

const plan = planFleet({ fleet, inventories, demands });
for (const card of plan.nodes.flatMap((node) => node.cards)) {
  console.log(`${card.id} ${card.product}: ${formatLayout(card.layout)}`);
}
for (const { instance, shares, predicted, reasons } of plan.placements) {
  const [share] = shares;
  if (share === undefined) continue;
  console.log(
    `${instance} on ${share.card}/${share.partition}, ${formatBytes(share.memoryBytes)}, TPOT ${predicted.tpotMs.toFixed(1)} ms`,
  );
  for (const { code, message } of reasons) console.log(`  ${code}: ${message}`);
}
for (const { workload, reasons } of plan.unplaced)
  console.log(`${workload} has no place: ${reasons[0]?.message}`);
