/**
 * A score and a filter of one's own: batch models go to the last cards of a node, so that the first ones stay free for
 * urgent ones, and nothing but guardrails may go on the very first.
 *
 *   npm start -w example-score-plugin
 */
import { type Band, workloadName } from '@aim-gpu/core';
import { aDemand, aFleet, anInventory, aWorkload, someCards } from '@aim-gpu/core/testing';
import { type FilterPlugin, planFleet, type ScorePlugin } from '@aim-gpu/scheduler';

const inventory = anInventory({ cards: someCards(3) });
const position = new Map(inventory.cards.map(({ id }, index) => [id as string, index]));

const batchLast: ScorePlugin = {
  name: 'batch-last',
  weight: 5,
  score: ({ workload, card }) =>
    workload.band === 'batch' ? 1 - (position.get(card) ?? 0) / inventory.cards.length : 0,
};

const guardrailsFirst: FilterPlugin = {
  name: 'guardrails-only',
  reject: ({ workload, card }) =>
    position.get(card) === 0 && workload.kind !== 'guardrail' ? 'card 0 is for guardrails' : null,
};

const bands: Readonly<Record<string, Band>> = {
  chat: 'interactive',
  nightly: 'batch',
  guard: 'critical',
};
const models = Object.entries(bands).map(([name, band]) =>
  aWorkload({ name: workloadName(name), band, kind: name === 'guard' ? 'guardrail' : 'inference' }),
);
const demands = new Map(models.map(({ name }) => [name, aDemand({ workload: name })]));
const plan = planFleet({
  fleet: aFleet({ models }),
  inventories: [inventory],
  demands,
  plugins: { filters: [guardrailsFirst], scores: [batchLast] },
});
for (const { instance, shares } of plan.placements)
  console.log(`${instance} on card ${position.get(shares[0]?.card ?? '')}`);
