/**
 * Conformance cases of a machine's life: reboot, reload, watch, staged memory, and changes that meet.
 */
import type { Product } from '../../products/product.js';
import type { ConformanceCase, ConformanceMachine } from './case.js';
import {
  bring,
  change,
  check,
  inLayout,
  makeCase,
  otherMemory,
  RELOAD,
  reachable,
  setCompute,
  stage,
} from './case-making.js';

/** What a reboot, a reload and a watch do. */
export function lifeCases(product: Product): readonly ConformanceCase[] {
  const { initialLayout } = product;
  const [target] = reachable(product);
  const other = otherMemory(product);
  const needs = ['reboot'] as const;
  return [
    ...(target === undefined
      ? []
      : [
          makeCase('reboot and reload', 'a reboot brings back the initial layout', {
            positive: true,
            needs,
            steps: [bring(target), { do: 'reboot' }, inLayout(initialLayout)],
          }),
          makeCase('reboot and reload', 'a reload brings back the compute mode of the load', {
            positive: true,
            steps: [bring(target), change(RELOAD, 'ok'), inLayout(initialLayout)],
          }),
          makeCase('watch', 'a switch is told with what was before and after', {
            positive: true,
            steps: [
              { do: 'watch' },
              change(setCompute(target.compute), 'ok'),
              { do: 'told', card: 0, to: target.compute },
            ],
          }),
          makeCase('watch', 'of an idle machine nothing is told', {
            positive: false,
            destructive: false,
            steps: [{ do: 'watch' }, { do: 'wait', ms: 5000 }, { do: 'told', card: 0, to: null }],
          }),
        ]),
    ...(other === undefined
      ? []
      : [
          makeCase('staged memory', 'a staged mode is not in force', {
            positive: false,
            steps: [change(stage(other.memory), 'ok'), inLayout(initialLayout)],
          }),
          makeCase('staged memory', 'a reload puts it in force', {
            positive: true,
            steps: [
              change(stage(other.memory), 'ok'),
              change(RELOAD, 'ok'),
              check({ kind: 'sums' }),
              change(setCompute(other.compute), 'ok'),
              check({ kind: 'layout', layout: other, card: 0 }),
            ],
          }),
          makeCase('staged memory', 'a reboot loses it', {
            positive: false,
            needs,
            steps: [change(stage(other.memory), 'ok'), { do: 'reboot' }, inLayout(initialLayout)],
          }),
          makeCase('reboot and reload', 'a reboot loses the memory mode', {
            positive: true,
            needs,
            steps: [bring(other), { do: 'reboot' }, inLayout(initialLayout)],
          }),
        ]),
  ];
}

/** Two changes at once, or one after the other. */
export function togetherCases(
  product: Product,
  machine: ConformanceMachine,
): readonly ConformanceCase[] {
  const [first, second = product.initialLayout] = reachable(product);
  if (first === undefined) return [];
  return [
    makeCase('concurrency', 'of two switches of one card from one generation one is done', {
      positive: false,
      steps: [
        {
          do: 'change-together',
          changes: [setCompute(first.compute), setCompute(second.compute)],
        },
        check({ kind: 'sums' }),
      ],
    }),
    makeCase('concurrency', 'one after the other both are done', {
      positive: true,
      steps: [change(setCompute(first.compute), 'ok'), change(setCompute(second.compute), 'ok')],
    }),
    ...(machine.cards < 2
      ? []
      : [
          makeCase('legal switch', 'cards of one node may be in different compute modes', {
            positive: true,
            steps: [
              change(setCompute(first.compute, 1), 'ok'),
              check({ kind: 'layout', layout: first, card: 1 }),
              check({ kind: 'layout', layout: product.initialLayout, card: 0 }),
            ],
          }),
        ]),
  ];
}
