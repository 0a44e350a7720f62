/**
 * The layouts of a node as a document that can be kept, compared and applied again. Owns its form and its version; reads
 * and changes no machine.
 */
import {
  AimError,
  type CardId,
  COMPUTE_MODES,
  cardId,
  formatLayout,
  type Inventory,
  type Layout,
  MEMORY_MODES,
  toLayout,
} from '@aim-gpu/core';
import { z } from 'zod';
import type { DesiredLayout } from './assert-layout.js';

/** Layouts of a node's cards, as a document. */
export interface LayoutSpec {
  readonly apiVersion: 'aim-gpu/v1alpha1';
  readonly kind: 'LayoutSpec';
  readonly node: string;
  readonly cards: readonly {
    readonly id: CardId;
    /** For people; not compared. */
    readonly product: string | null;
    readonly layout: Layout;
  }[];
}

const spec: z.ZodType<LayoutSpec> = z.strictObject({
  apiVersion: z.literal('aim-gpu/v1alpha1'),
  kind: z.literal('LayoutSpec'),
  node: z.string().min(1).max(253),
  cards: z
    .array(
      z.strictObject({
        id: z
          .string()
          .regex(/^[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.0$/, 'a PCI address such as 0000:0c:00.0')
          .transform((value) => cardId(value)) as unknown as z.ZodType<CardId>,
        product: z.string().nullable(),
        layout: z.strictObject({ compute: z.enum(COMPUTE_MODES), memory: z.enum(MEMORY_MODES) }),
      }),
    )
    .min(1)
    .max(1024),
});

/**
 * Writes down the layouts a node has. Throws `ERR_DRIVER_IO` (unavailable) when one cannot be read: a document with a
 * guess in it would be applied some day.
 */
export function exportLayout(inventory: Inventory): LayoutSpec {
  const cards = inventory.cards.map(({ id, product, layout: { compute, memory } }) => {
    if (compute !== null && memory !== null) return { id, product, layout: { compute, memory } };
    throw new AimError({
      code: 'ERR_DRIVER_IO',
      kind: 'unavailable',
      message: `the layout of ${id} cannot be read`,
      hint: 'wait for a switch under way to end, or look at `aim-gpu doctor`',
    });
  });
  return { apiVersion: 'aim-gpu/v1alpha1', kind: 'LayoutSpec', node: inventory.node, cards };
}

/**
 * Reads such a document. Throws `ERR_CONFIG_INVALID` (invalid) that names the field.
 */
export function parseLayoutSpec(text: string): LayoutSpec {
  const fail = (message: string): AimError =>
    new AimError({
      code: 'ERR_CONFIG_INVALID',
      kind: 'invalid',
      message: `the layout document: ${message}`,
      hint: 'write one with `aim-gpu partition export`',
    });
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw fail(cause instanceof Error ? cause.message : 'no JSON');
  }
  const parsed = spec.safeParse(json);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw fail(`${issue?.path.join('.') || 'document'}: ${issue?.message ?? 'not as expected'}`);
  }
  const ids = parsed.data.cards.map((card) => card.id);
  const twice = ids.find((id, index) => ids.indexOf(id) !== index);
  if (twice !== undefined) throw fail(`${twice} is listed twice`);
  return parsed.data;
}

/** The wish that a document stands for. */
export function toDesiredLayouts(document: LayoutSpec): readonly DesiredLayout[] {
  return document.cards.map(({ id, layout }) => ({ card: id, layout }));
}

/**
 * Reads wishes as they are typed: `CPX/NPS4` for every card of the inventory, `0000:0c:00.0=CPX/NPS4` for one; a later
 * one wins. Throws `ERR_USAGE` (invalid) for text that is neither, `ERR_DEVICE_UNKNOWN` (missing) for another card.
 */
export function parseLayoutWishes(
  words: readonly string[],
  inventory: Inventory,
): readonly DesiredLayout[] {
  const wishes = new Map<CardId, Layout>();
  const known = inventory.cards.map((card) => card.id);
  for (const word of words) {
    const at = word.lastIndexOf('=');
    const layout = toLayout(at < 0 ? word : word.slice(at + 1));
    if (layout === null) throw noWish(word);
    if (at < 0) for (const id of known) wishes.set(id, layout);
    else {
      const id = known.find((entry) => entry === word.slice(0, at).toLowerCase());
      if (id === undefined) throw noCard(word.slice(0, at), known);
      wishes.set(id, layout);
    }
  }
  return [...wishes].map(([card, layout]) => ({ card, layout }));
}

function noWish(word: string): AimError {
  return new AimError({
    code: 'ERR_USAGE',
    kind: 'invalid',
    message: `"${word}" is no layout`,
    hint: `write ${formatLayout({ compute: 'CPX', memory: 'NPS4' })} for every card, or 0000:0c:00.0=CPX/NPS4 for one`,
  });
}

function noCard(name: string, known: readonly CardId[]): AimError {
  return new AimError({
    code: 'ERR_DEVICE_UNKNOWN',
    kind: 'missing',
    message: `this node has no card ${name}`,
    hint: `cards are: ${known.join(', ') || 'none'}`,
    details: { known },
  });
}
