/**
 * Conformance cases of layouts: what is seen in each, which switches there are, in which order they go, what names a
 * partition.
 */
import {
  COMPUTE_MODES,
  formatLayout,
  type Layout,
  MEMORY_MODES,
  sameLayout,
} from '../../layout.js';
import type { Product } from '../../products/product.js';
import type { ConformanceCase } from './case.js';
import {
  bring,
  change,
  check,
  inLayout,
  makeCase,
  RELOAD,
  REMEMBER,
  setCompute,
  stage,
  UNCHANGED,
} from './case-making.js';

/** Cards, partitions and sums, as found and in every layout. */
export function discoveryCases(product: Product): readonly ConformanceCase[] {
  // No product has eight memory domains.
  const refused = change(stage('NPS8'), 'ERR_LAYOUT_UNSUPPORTED');
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
    makeCase('discovery', 'after a refused change the same is seen as before', {
      positive: false,
      steps: [REMEMBER, refused, inLayout(product.initialLayout), UNCHANGED],
    }),
    makeCase('sums', 'a refused change takes nothing away', {
      positive: false,
      steps: [refused, check({ kind: 'sums' })],
    }),
    makeCase('identity', 'a refused change renames nothing', {
      positive: false,
      steps: [REMEMBER, refused, check({ kind: 'identity' }), check({ kind: 'same-render-nodes' })],
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
export function switchCases(product: Product): readonly ConformanceCase[] {
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

/** Memory mode first, then the reload, then the compute mode. */
export function orderCases(product: Product): readonly ConformanceCase[] {
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

/** What names a partition, and that it names it again after a way round. */
export function identityCases(product: Product): readonly ConformanceCase[] {
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
