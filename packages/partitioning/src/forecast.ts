/**
 * What a run of changes is expected to lead to and how long it takes, from any state of the machine: the plan unrolls
 * it once, and whoever applies a plan asks again at each step for the time that is left. Pure.
 */
import type { Inventory, ObservedCard } from '@aim-gpu/core';
import { toCardLayouts } from './assert-layout.js';
import { expectedLoadMode } from './load-mode.js';
import {
  type CardLayout,
  type CardTarget,
  hiveKey,
  type LayoutStep,
  nextStep,
} from './next-step.js';
import { expectedSwitchMs, type SwitchTiming } from './switch-timing.js';

/** A change that is expected, and the layouts after it as far as can be foreseen. */
export interface ForecastStep {
  readonly change: LayoutStep;
  readonly expectedMs: number;
  readonly after: readonly CardLayout[];
}

/** The changes from an inventory to the wanted layouts; `staged` as for {@link nextStep}. */
export function forecastSteps(options: {
  readonly inventory: Inventory;
  readonly to: readonly CardTarget[];
  readonly timing: SwitchTiming;
  readonly staged?: ReadonlySet<string>;
}): readonly ForecastStep[] {
  const { inventory, to, timing } = options;
  const steps: ForecastStep[] = [];
  const staged = new Set(options.staged);
  let state: readonly CardLayout[] = toCardLayouts(inventory);
  for (;;) {
    const change = nextStep(state, to, staged);
    if (change === null) return steps;
    state = after(inventory.cards, state, to, change);
    if (change.kind === 'stage-memory') staged.add(hiveKey(change));
    if (change.kind === 'reload') staged.clear();
    steps.push({
      change,
      expectedMs: expectedSwitchMs({ kind: change.kind, timing }),
      after: state,
    });
  }
}

function after(
  cards: readonly ObservedCard[],
  state: readonly CardLayout[],
  to: readonly CardTarget[],
  change: LayoutStep,
): readonly CardLayout[] {
  switch (change.kind) {
    case 'stage-memory':
      return state;
    case 'reload':
      return state.map((entry) => {
        const card = cards.find((candidate) => candidate.id === entry.card);
        const memory = to.find((target) => target.card === entry.card)?.layout.memory;
        if (card === undefined || memory === undefined) return entry;
        return { ...entry, layout: { compute: expectedLoadMode(card, memory), memory } };
      });
    case 'set-compute':
      return state.map((entry) =>
        entry.card === change.card
          ? { ...entry, layout: { ...entry.layout, compute: change.to } }
          : entry,
      );
  }
}
