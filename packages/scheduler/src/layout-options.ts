/**
 * Which of a card's options can be part of a best solution. Saves search, bound and exact solver from looking at memory
 * modes that can only cost.
 */
import type { LayoutModel, ModelCard } from './layout-model.js';

/**
 * Memory modes that a hive may be in to advantage. Another one than it has now is left out where each of its options has
 * a twin in the present mode that is as large, as fast and no dearer to get to.
 */
export function usefulModes(
  cards: readonly ModelCard[],
  members: readonly number[],
): readonly string[] {
  const all = new Set(
    members.flatMap((member) => cards[member]?.options.map(({ memory }) => memory) ?? []),
  );
  const possible = [...all].filter((mode) =>
    members.every((member) => cards[member]?.options.some(({ memory }) => memory === mode)),
  );
  const present = new Set(
    members.map((member) => {
      const { options = [], current = null } = cards[member] ?? {};
      return current === null ? null : (options[current]?.memory ?? null);
    }),
  );
  const [mode] = present;
  if (present.size !== 1 || mode === null || mode === undefined) return possible;
  const isDominated = members.every((member) => {
    const { options = [] } = cards[member] ?? {};
    return options.every((option) =>
      options.some(
        (twin) =>
          twin.memory === mode &&
          twin.partitions === option.partitions &&
          twin.usableBytes >= option.usableBytes &&
          twin.speed >= option.speed &&
          twin.changeCostMs <= option.changeCostMs,
      ),
    );
  });
  return isDominated ? [mode] : possible;
}

/** Options of a card in the useful modes of its hive. */
export function usefulOptions(layout: LayoutModel, card: number): ReadonlySet<number> {
  const { options = [], hive = 0 } = layout.cards[card] ?? {};
  const modes = layout.hiveModes[hive] ?? [];
  return new Set(options.flatMap(({ memory }, at) => (modes.includes(memory) ? [at] : [])));
}
