/**
 * The schema of one node of a fleet file. Owns its keys and defaults; addresses of cards are made up in
 * simulated-cards.ts.
 */
import { z } from 'zod';
import * as field from './fields.js';
import type { NodeShape } from './shape.js';
import { product } from './shared-words.js';

const cards = z
  .union([
    field.section('Cards of one product.', '{ product: MI300X, count: 1 }', {
      product: product().prefault('MI300X'),
      count: field.whole('How many of them.', '1', 1, 8).prefault(1),
    }),
    z
      .array(
        field.section('One card.', '{ product: MI300X }', {
          id: field.cardAddress('PCI address; made up when missing.').nullable().prefault(null),
          product: product().prefault('MI300X'),
          hive: field
            .text(
              'XGMI group; cards of one hive have one memory mode.',
              /^\S+$/,
              'a word',
              'node-a-hive-0',
            )
            .nullable()
            .prefault(null),
        }),
      )
      .min(1)
      .max(8),
  ])
  .transform((value) =>
    Array.isArray(value)
      ? value
      : Array.from({ length: value.count }, () => ({
          id: null,
          product: value.product,
          hive: null,
        })),
  );

/** One node. */
export const nodeSchema: z.ZodType<NodeShape> = field.section(
  'One machine.',
  '{ name: node-a, driver: simulated }',
  {
    name: field.name(
      'Name of the node; `up` takes the one named like its host when there are several.',
      'node-a',
    ),
    driver: field
      .word(
        'How the cards are driven; `--driver` on the command line wins.',
        ['simulated', 'rocm'],
        'simulated',
      )
      .prefault('rocm'),
    cards: field
      .described(
        cards,
        'Cards of a simulated node; rocm discovers its own. One MI300X when missing.',
        {
          allowed: '{ product, count } or a list of 1 to 8 cards { id, product, hive }',
          example: '{ product: MI300X, count: 1 }',
        },
      )
      .nullable()
      .prefault(null),
    cordon: field
      .described(
        z.union([z.literal('all'), z.array(field.cardAddress('PCI address of the card.'))]),
        'Cards that take nothing new and keep their layout; what runs there stays.',
        { allowed: 'all, or a list of addresses of cards', example: '["0000:0c:00.0"]' },
      )
      .prefault([]),
    cardPricePerHour: field
      .decimal('Price of one card for one hour, in your own currency.', '2.5', 0, 1e6)
      .nullable()
      .prefault(null),
  },
);
