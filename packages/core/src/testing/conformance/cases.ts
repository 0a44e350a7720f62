/**
 * The conformance cases of a machine, made from what its product allows. Data: each says what is done and what must come
 * of it. Sources of the rules are in core/products and in the port's contract.
 */
import {
  COMPUTE_MODES,
  formatLayout,
  type Layout,
  MEMORY_MODES,
  sameLayout,
} from '../../layout.js';
import { findProduct } from '../../products/catalogue.js';
import type { Product } from '../../products/product.js';
import type {
  ConformanceCase,
  ConformanceChange,
  ConformanceCheck,
  ConformanceFault,
  ConformanceGroup,
  ConformanceMachine,
  ConformanceNeed,
  ConformanceStep,
  ExpectedOutcome,
} from './case.js';

/** Every case for a machine, in a fixed order. Throws nothing; an unknown product has no cases. */
export function conformanceCases(machine: ConformanceMachine): readonly ConformanceCase[] {
  const product = findProduct(machine.product);
  if (product === null) return [];
  return [
    ...discoveryCases(product),
    ...switchCases(product),
    ...orderCases(product),
    ...busyCases(product, machine),
    ...refusalCases(product),
    ...faultCases(product, machine),
    ...identityCases(product),
    ...lifeCases(product),
    ...togetherCases(product, machine),
  ];
}

interface Making {
  readonly positive: boolean;
  readonly needs?: readonly ConformanceNeed[];
  readonly destructive?: boolean;
  readonly steps: readonly ConformanceStep[];
}

function makeCase(group: ConformanceGroup, name: string, making: Making): ConformanceCase {
  const { positive, needs = [], destructive = true, steps } = making;
  return { group, name, positive, destructive, needs, steps };
}

const bring = (layout: Layout): ConformanceStep => ({ do: 'bring', layout });
const check = (one: ConformanceCheck): ConformanceStep => ({ do: 'check', check: one });
const inLayout = (layout: Layout): ConformanceStep => check({ kind: 'layout', layout });
const change = (one: ConformanceChange, expect: ExpectedOutcome): ConformanceStep => ({
  do: 'change',
  change: one,
  expect,
});
const setCompute = (to: Layout['compute'], card = 0): ConformanceChange => ({
  call: 'set-compute',
  card,
  to,
});
const stage = (to: Layout['memory'], card = 0): ConformanceChange => ({
  call: 'stage-memory',
  card,
  to,
});
const RELOAD: ConformanceChange = { call: 'reload' };
const REMEMBER: ConformanceStep = { do: 'remember' };
const UNCHANGED: ConformanceStep = check({ kind: 'as-remembered' });
const faulty = (fault: ConformanceFault): ConformanceStep => ({ do: 'fault', fault });

/** Compute modes that can be had from the initial layout without a reload, other than the initial one. */
function reachable(product: Product): readonly Layout[] {
  const { initialLayout } = product;
  return product.layouts.filter(
    (layout) => layout.memory === initialLayout.memory && !sameLayout(layout, initialLayout),
  );
}

/** A memory mode that takes a reload; undefined where there is one mode only. */
function otherMemory(product: Product): Layout | undefined {
  return product.layouts.find((layout) => layout.memory !== product.initialLayout.memory);
}

function discoveryCases(product: Product): readonly ConformanceCase[] {
  return [
    makeCase('discovery', 'what is there can be read twice and is the same', {
      positive: true,
      destructive: false,
      steps: [REMEMBER, UNCHANGED],
    }),
    makeCase('sums', 'as found: XCDs, CUs and capacities add up', {
      positive: true,
      destructive: false,
      steps: [check({ kind: 'sums' })],
    }),
    makeCase('identity', 'as found: indices, render nodes and UUIDs name one partition', {
      positive: true,
      destructive: false,
      steps: [check({ kind: 'identity' })],
    }),
    ...product.layouts.flatMap((layout) => [
      makeCase('discovery', `${formatLayout(layout)} is seen with its partitions`, {
        positive: true,
        steps: [bring(layout), inLayout(layout)],
      }),
      makeCase('sums', `${formatLayout(layout)}: XCDs, CUs and capacities add up`, {
        positive: true,
        steps: [bring(layout), check({ kind: 'sums' })],
      }),
    ]),
  ];
}

/** Every pair of layouts in one memory mode, and every compute mode that a memory mode does not have. */
function switchCases(product: Product): readonly ConformanceCase[] {
  const legal = product.layouts.flatMap((from) =>
    product.layouts
      .filter((to) => to.memory === from.memory)
      .map((to) =>
        makeCase('legal switch', `${formatLayout(from)} to ${to.compute}`, {
          positive: true,
          steps: [bring(from), change(setCompute(to.compute), 'ok')],
        }),
      ),
  );
  const memories = MEMORY_MODES.filter((memory) =>
    product.layouts.some((layout) => layout.memory === memory),
  );
  const illegal = memories.flatMap((memory) => {
    const from = product.layouts.find((layout) => layout.memory === memory) as Layout;
    return COMPUTE_MODES.filter(
      (compute) => !product.layouts.some((layout) => sameLayout(layout, { compute, memory })),
    ).map((compute) =>
      makeCase('illegal switch', `${formatLayout(from)} to ${compute}`, {
        positive: false,
        steps: [
          bring(from),
          REMEMBER,
          change(setCompute(compute), 'ERR_LAYOUT_UNSUPPORTED'),
          UNCHANGED,
        ],
      }),
    );
  });
  const noMemory = MEMORY_MODES.filter((memory) => !memories.includes(memory)).map((memory) =>
    makeCase('illegal switch', `asking for ${memory}`, {
      positive: false,
      steps: [REMEMBER, change(stage(memory), 'ERR_LAYOUT_UNSUPPORTED'), UNCHANGED],
    }),
  );
  const unknown = makeCase('illegal switch', 'a card that is not there', {
    positive: false,
    destructive: false,
    steps: [{ do: 'change-unknown-card' }],
  });
  return [...legal, ...illegal, ...noMemory, unknown];
}

function orderCases(product: Product): readonly ConformanceCase[] {
  const group = 'order of memory and compute';
  const { initialLayout } = product;
  return product.layouts
    .filter((layout) => layout.memory !== initialLayout.memory)
    .flatMap((layout) => [
      makeCase(group, `memory, reload, compute leads to ${formatLayout(layout)} and back`, {
        positive: true,
        steps: [
          change(stage(layout.memory), 'ok'),
          change(RELOAD, 'ok'),
          change(setCompute(layout.compute), 'ok'),
          bring(initialLayout),
          inLayout(initialLayout),
        ],
      }),
      makeCase(
        group,
        `${initialLayout.compute} is refused in ${layout.memory} until memory is back`,
        {
          positive: false,
          steps: [
            bring(layout),
            ...(product.layouts.some((other) =>
              sameLayout(other, { compute: initialLayout.compute, memory: layout.memory }),
            )
              ? []
              : [change(setCompute(initialLayout.compute), 'ERR_LAYOUT_UNSUPPORTED')]),
            inLayout(layout),
          ],
        },
      ),
    ]);
}

function busyCases(product: Product, machine: ConformanceMachine): readonly ConformanceCase[] {
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

function refusalCases(product: Product): readonly ConformanceCase[] {
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

function faultCases(product: Product, machine: ConformanceMachine): readonly ConformanceCase[] {
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

function identityCases(product: Product): readonly ConformanceCase[] {
  const { initialLayout } = product;
  return product.layouts.flatMap((layout) => [
    makeCase(
      'identity',
      `${formatLayout(layout)}: indices, render nodes and UUIDs name one partition`,
      {
        positive: true,
        steps: [bring(layout), check({ kind: 'identity' })],
      },
    ),
    makeCase('identity', `${formatLayout(layout)}, away and back: the same render nodes`, {
      positive: true,
      steps: [
        bring(layout),
        REMEMBER,
        bring(initialLayout),
        bring(layout),
        check({ kind: 'same-render-nodes' }),
      ],
    }),
  ]);
}

function lifeCases(product: Product): readonly ConformanceCase[] {
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

function togetherCases(product: Product, machine: ConformanceMachine): readonly ConformanceCase[] {
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
