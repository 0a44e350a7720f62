/**
 * Conformance cases of what is refused: held cards, no rights, old generations, cancelled calls.
 */
import type { Layout } from '../../layout.js';
import type { Product } from '../../products/product.js';
import type {
  ConformanceCase,
  ConformanceChange,
  ConformanceMachine,
  ConformanceStep,
} from './case.js';
import {
  change,
  makeCase,
  otherMemory,
  RELOAD,
  REMEMBER,
  reachable,
  setCompute,
  stage,
  UNCHANGED,
} from './case-making.js';

/** Cards that processes hold. */
export function busyCases(
  product: Product,
  machine: ConformanceMachine,
): readonly ConformanceCase[] {
  const [target] = reachable(product);
  if (target === undefined) return [];
  const needs = ['hold'] as const;
  const free: ConformanceStep = { do: 'wait', ms: 2000 };
  const cases = [
    makeCase('busy', 'a card that a process holds is not switched, and the holder is named', {
      positive: false,
      needs,
      steps: [
        { do: 'hold', card: 0 },
        REMEMBER,
        { do: 'holders', card: 0, held: true },
        change(setCompute(target.compute), 'ERR_DEVICE_BUSY'),
        UNCHANGED,
      ],
    }),
    makeCase('busy', 'the driver is not reloaded while a card is held', {
      positive: false,
      needs,
      steps: [{ do: 'hold', card: 0 }, REMEMBER, change(RELOAD, 'ERR_DEVICE_BUSY'), UNCHANGED],
    }),
    makeCase('busy', 'an idle card has no holders and is switched', {
      positive: true,
      steps: [{ do: 'holders', card: 0, held: false }, change(setCompute(target.compute), 'ok')],
    }),
    makeCase('busy', 'a card is switched once its holder has gone', {
      positive: true,
      needs,
      steps: [
        { do: 'hold', card: 0 },
        { do: 'release' },
        free,
        change(setCompute(target.compute), 'ok'),
      ],
    }),
  ];
  if (machine.cards < 2) return cases;
  const scope = machine.busyScope;
  return [
    ...cases,
    makeCase(
      'busy',
      `a process on another card ${scope === 'card' ? 'is no hindrance' : 'blocks'}`,
      {
        positive: scope === 'card',
        needs,
        steps: [
          { do: 'hold', card: 1 },
          change(setCompute(target.compute), scope === 'card' ? 'ok' : 'ERR_DEVICE_BUSY'),
        ],
      },
    ),
  ];
}

/** Calls without rights, from an old generation, or cancelled before they began. */
export function refusalCases(product: Product): readonly ConformanceCase[] {
  const [target] = reachable(product);
  if (target === undefined) return [];
  const changes: readonly (readonly [string, ConformanceChange])[] = [
    ['a compute switch', setCompute(target.compute)],
    ...(otherMemory(product) === undefined
      ? []
      : ([['a memory mode', stage((otherMemory(product) as Layout).memory)]] as const)),
    ['a reload', RELOAD],
  ];
  return changes.flatMap(([what, one]) => [
    makeCase('permission', `${what} takes rights`, {
      positive: false,
      needs: ['unprivileged'],
      steps: [REMEMBER, { do: 'change-unprivileged', change: one }, UNCHANGED],
    }),
    makeCase('permission', `${what} with rights is done`, {
      positive: true,
      steps: [change(one, 'ok')],
    }),
    makeCase('concurrency', `${what} from an old generation is refused`, {
      positive: false,
      steps: [REMEMBER, { do: 'change-stale', change: one }, UNCHANGED],
    }),
    makeCase('cancel and timeout', `${what} that was cancelled before it began does nothing`, {
      positive: false,
      steps: [REMEMBER, { do: 'change-cancelled', change: one, when: 'before' }, UNCHANGED],
    }),
  ]);
}
