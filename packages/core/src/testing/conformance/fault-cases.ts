/**
 * Conformance cases of faults below the driver.
 */
import type { Layout } from '../../layout.js';
import type { Product } from '../../products/product.js';
import type {
  ConformanceCase,
  ConformanceFault,
  ConformanceMachine,
  ConformanceStep,
} from './case.js';
import {
  bring,
  change,
  check,
  faulty,
  inLayout,
  makeCase,
  otherMemory,
  RELOAD,
  REMEMBER,
  reachable,
  setCompute,
  stage,
  UNCHANGED,
} from './case-making.js';

/** Faults of the machine below the driver: each is told, none is shown as done. */
export function faultCases(
  product: Product,
  machine: ConformanceMachine,
): readonly ConformanceCase[] {
  const [target] = reachable(product);
  if (target === undefined) return [];
  const needs = ['fault'] as const;
  const to = target.compute;
  const start = product.initialLayout;
  const compute = (effect: ConformanceFault['effect'], times = 1): ConformanceStep =>
    faulty({ on: 'set-compute', effect, times });
  const cases = [
    makeCase('busy', 'EBUSY by nobody who can be seen is told as busy', {
      positive: false,
      needs,
      steps: [
        compute({ kind: 'busy' }, 10_000),
        REMEMBER,
        change(setCompute(to), 'ERR_DEVICE_BUSY'),
        UNCHANGED,
      ],
    }),
    makeCase('permission', 'EPERM that does not end is told as such', {
      positive: false,
      needs,
      steps: [
        compute({ kind: 'permission' }, 10_000),
        REMEMBER,
        change(setCompute(to), 'ERR_DRIVER_PERMISSION'),
        UNCHANGED,
      ],
    }),
    makeCase('read-back', 'EIO is told and leaves the card as it was', {
      positive: false,
      needs,
      steps: [
        compute({ kind: 'io' }),
        REMEMBER,
        change(setCompute(to), 'ERR_DRIVER_IO'),
        UNCHANGED,
        change(setCompute(to), 'ok'),
      ],
    }),
    makeCase('read-back', 'a switch that did nothing is not shown as done', {
      positive: false,
      needs,
      steps: [compute({ kind: 'no-change' }), change(setCompute(to), 'not-there'), inLayout(start)],
    }),
    makeCase('read-back', 'what the card says is shown, not what was asked', {
      positive: false,
      needs,
      steps: [
        compute({ kind: 'wrong-report', compute: start.compute }),
        change(setCompute(to), 'not-there'),
      ],
    }),
    makeCase('read-back', 'a switch that worked is shown as done', {
      positive: true,
      steps: [change(setCompute(to), 'ok')],
    }),
    makeCase('cancel and timeout', 'a switch that hangs is given up and said to be unknown', {
      positive: false,
      needs,
      steps: [
        compute({ kind: 'hang', ms: 150_000, applies: true }),
        change(setCompute(to), 'ERR_SWITCH_TIMEOUT'),
      ],
    }),
    makeCase(
      'cancel and timeout',
      'a switch cancelled half-way ends the call; the card ends in one layout',
      {
        positive: false,
        steps: [
          { do: 'change-cancelled', change: setCompute(to), when: 'during' },
          { do: 'wait', ms: 20_000 },
          check({ kind: 'sums' }),
          change(setCompute(start.compute), 'ok'),
        ],
      },
    ),
    makeCase('cancel and timeout', 'a switch within its time is done', {
      positive: true,
      steps: [change(setCompute(to), 'ok')],
    }),
    makeCase('reboot and reload', 'a power cut during a switch is told; the machine is whole', {
      positive: false,
      needs,
      steps: [
        compute({ kind: 'power-cut', afterMs: 200 }),
        change(setCompute(to), 'ERR_DRIVER_IO'),
        { do: 'wait', ms: 20_000 },
        inLayout(start),
      ],
    }),
  ];
  const memory = otherMemory(product)?.memory;
  if (memory === undefined) return cases;
  const reload = (effect: ConformanceFault['effect']): ConformanceStep =>
    faulty({ on: 'reload', effect });
  return [
    ...cases,
    makeCase('read-back', 'a reload that changed nothing is not shown as done', {
      positive: false,
      needs,
      steps: [
        change(stage(memory), 'ok'),
        reload({ kind: 'no-change' }),
        change(RELOAD, 'ok'),
        check({ kind: 'layout', layout: start }),
      ],
    }),
    ...(machine.cards / machine.hives < 2
      ? []
      : [
          makeCase('partial change', 'half of a hive changed is shown as it is', {
            positive: false,
            needs,
            steps: [
              change(stage(memory), 'ok'),
              reload({ kind: 'half' }),
              change(RELOAD, 'ok'),
              check({ kind: 'some-cards', memory }),
            ],
          }),
          makeCase('partial change', 'a whole hive changes together', {
            positive: true,
            steps: [
              bring(otherMemory(product) as Layout),
              inLayout(otherMemory(product) as Layout),
            ],
          }),
        ]),
    makeCase('cancel and timeout', 'a reload that hangs is given up and said to be unknown', {
      positive: false,
      needs,
      steps: [
        change(stage(memory), 'ok'),
        reload({ kind: 'hang', ms: 350_000, applies: true }),
        change(RELOAD, 'ERR_SWITCH_TIMEOUT'),
      ],
    }),
  ];
}
