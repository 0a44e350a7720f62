/**
 * Which layouts a card may be put into: the product's rules and what the device itself offers. Pure. A layout that
 * nobody has validated is allowed with a warning; one that the device does not offer is not allowed, whatever the table
 * says (a capability comes from the card).
 */
import {
  COMPUTE_MODES,
  formatLayout,
  type Layout,
  MEMORY_MODES,
  type ObservedCard,
  type Reason,
  sameLayout,
} from '@aim-gpu/core';
import { findProduct, type LayoutGrade, productLayout } from '@aim-gpu/core/products';

/** What it takes to get from the layout a card has to another. */
export type LayoutReach =
  /** Nothing: the card has it. */
  | 'current'
  /** A switch of this card in the memory mode it has. */
  | 'compute-switch'
  /** Another memory mode of the hive, so a driver reload of the node. */
  | 'driver-reload'
  /** Not known, since the card's memory mode could not be read. */
  | 'unknown';

/** A layout a card may be put into. */
export interface LegalLayout {
  readonly layout: Layout;
  readonly reach: LayoutReach;
  /** How well it is supported by evidence; null when only the device vouches for it. */
  readonly grade: LayoutGrade | null;
  /** What to know before using it; empty for a validated layout. */
  readonly warnings: readonly Reason[];
}

/** A layout a card may not be put into, and why. */
export interface RefusedLayout {
  readonly layout: Layout;
  readonly reasons: readonly Reason[];
}

/** Every layout there is, judged for one card. */
export interface LegalLayouts {
  readonly legal: readonly LegalLayout[];
  readonly refused: readonly RefusedLayout[];
}

/** The judgement of one layout. */
export type LayoutVerdict =
  | ({ readonly ok: true } & LegalLayout)
  | ({ readonly ok: false } & RefusedLayout);

/**
 * Judges every layout for a card. The layout the card has is always legal. Reasons of refusal: `LAYOUT_NOT_OFFERED`
 * (the device), `LAYOUT_NOT_IN_PRODUCT` (the table, where the device does not say), `LAYOUT_NEEDS_FIRMWARE` (only some
 * firmware has it, and the device does not say), `LAYOUT_MEMORY_FIXED` (GPU memory that is the CPU's too keeps its mode),
 * `LAYOUT_READ_ONLY` (virtual functions), `PRODUCT_UNKNOWN`. Warnings: `LAYOUT_NOT_VALIDATED`, `LAYOUT_UNVERIFIED`,
 * `LAYOUT_FIRMWARE_ONLY`, `LAYOUT_BY_DEVICE_ONLY`.
 */
export function legalLayouts(card: ObservedCard): LegalLayouts {
  const legal: LegalLayout[] = [];
  const refused: RefusedLayout[] = [];
  for (const memory of MEMORY_MODES) {
    for (const compute of COMPUTE_MODES) {
      const verdict = judgeLayout(card, { compute, memory });
      if (verdict.ok) {
        const { layout, reach, grade, warnings } = verdict;
        legal.push({ layout, reach, grade, warnings });
      } else refused.push({ layout: verdict.layout, reasons: verdict.reasons });
    }
  }
  return { legal, refused };
}

/** Judges one layout for a card, as {@link legalLayouts} does for all. */
export function judgeLayout(card: ObservedCard, layout: Layout): LayoutVerdict {
  const refuse = (code: string, message: string): LayoutVerdict => ({
    ok: false,
    layout,
    reasons: [{ code, message: `${formatLayout(layout)} on ${card.id}: ${message}` }],
  });
  const product = card.product === null ? null : findProduct(card.product);
  const entry = product === null ? null : productLayout(product, layout);
  const firmware = product?.firmwareLayouts.find((other) => sameLayout(other, layout)) ?? null;
  const grade = entry?.grade ?? firmware?.grade ?? null;
  const reach = reachOf(card, layout);
  if (reach === 'current') return { ok: true, layout, reach, grade, warnings: [] };
  if (!card.writable)
    return refuse('LAYOUT_READ_ONLY', 'the layout of this card is set by its host');
  if (product?.unifiedMemory === true && reach === 'driver-reload')
    return refuse('LAYOUT_MEMORY_FIXED', `the memory mode of ${product.name} cannot change`);
  if (card.offered !== null && !card.offered.some((offer) => sameLayout(offer, layout))) {
    return refuse('LAYOUT_NOT_OFFERED', 'the device does not offer it');
  }
  if (card.offered === null && product === null) {
    return refuse(
      'PRODUCT_UNKNOWN',
      'the product is unknown and the device does not say what it offers',
    );
  }
  if (card.offered === null && entry === null) {
    return firmware === null
      ? refuse('LAYOUT_NOT_IN_PRODUCT', `the rules of ${card.product} do not allow it`)
      : refuse('LAYOUT_NEEDS_FIRMWARE', 'only some firmware has it, and the device does not say');
  }
  const source = entry === null && firmware !== null ? 'firmware' : grade;
  return { ok: true, layout, reach, grade, warnings: warningsOf(card, layout, source) };
}

function reachOf(card: ObservedCard, layout: Layout): LayoutReach {
  const { compute, memory } = card.layout;
  if (memory === null) return 'unknown';
  if (memory !== layout.memory) return 'driver-reload';
  return compute === layout.compute ? 'current' : 'compute-switch';
}

function warningsOf(
  card: ObservedCard,
  layout: Layout,
  source: LayoutGrade | 'firmware' | null,
): readonly Reason[] {
  const warn = (code: string, message: string): readonly Reason[] => [
    { code, message: `${formatLayout(layout)} on ${card.id}: ${message}` },
  ];
  switch (source) {
    case 'validated':
      return [];
    case 'offered':
      return warn(
        'LAYOUT_NOT_VALIDATED',
        'offered by the device, not in the vendor’s list of validated layouts',
      );
    case 'unverified':
      return warn('LAYOUT_UNVERIFIED', 'follows from sister products; no capture shows it');
    case 'firmware':
      return warn('LAYOUT_FIRMWARE_ONLY', 'this firmware offers it, others of the product do not');
    case null:
      return warn('LAYOUT_BY_DEVICE_ONLY', 'offered by the device, unknown to the product table');
  }
}
