/**
 * The schema of one tenant of a fleet file. Owns its keys and defaults, and that an API key never stands in the file,
 * only where it comes from.
 */
import { BANDS } from '@aim-gpu/core';
import { z } from 'zod';
import * as field from './fields.js';
import { limits } from './limits-schema.js';
import type { TenantShape } from './shape.js';
import { bandName } from './shared-words.js';

const HIDE_KEY = 'put the key into an environment variable and write { env: ITS_NAME }';

const keySource = {
  env: field
    .text(
      'Environment variable that holds the key.',
      /^[A-Za-z_][A-Za-z0-9_]*$/,
      'the name of an environment variable',
      'TEAM_A_KEY',
      'put the key into an environment variable and write its name here',
    )
    .optional(),
  file: field.filePath('File that holds the key.', './keys/team-a').optional(),
  sha256: field
    .text(
      'SHA-256 of the key, in hexadecimal.',
      /^[0-9a-fA-F]{64}$/,
      'the SHA-256 of the key, 64 hexadecimal digits',
      `"${'0'.repeat(64)}"`,
      'write what `printf %s "$KEY" | sha256sum` prints',
    )
    .optional(),
};

const key = field
  .section(
    'Where a key comes from: exactly one of env, file, sha256.',
    '{ env: TEAM_A_KEY }',
    keySource,
    HIDE_KEY,
  )
  .refine((value) => Object.values(value).filter((entry) => entry !== undefined).length === 1, {
    params: { problem: 'one-key-source' },
  })
  .meta({ minProperties: 1, maxProperties: 1 });

const noSize = z.union([z.literal(0), z.literal('0')]).transform(() => 0);

const quota = field.section(
  'Memory of the fleet that the shares of its models may take together; null is any.',
  '{ memory: 400GiB }',
  {
    memory: field.size('Its own part: nobody else comes before it.', '400GiB'),
    borrow: field
      .described(
        z.union([noSize, field.size('Size.', '100GiB')]),
        'Most that it may take beyond its part while others leave theirs; null is any, 0 nothing.',
        { allowed: 'a size such as 100GiB, 0 or null', example: '100GiB' },
      )
      .nullable()
      .prefault(null),
    guaranteed: field
      .described(
        z.union([noSize, field.size('Size.', '100GiB')]),
        'Of its part: never lent to others.',
        { allowed: 'a size such as 100GiB, or 0', example: '100GiB' },
      )
      .prefault('0'),
  },
);

/** One tenant. */
export const tenantSchema: z.ZodType<TenantShape<number>> = field.section(
  'One tenant.',
  '{ name: team-a, keys: [{ env: TEAM_A_KEY }] }',
  {
    name: field.name('Name of the tenant.', 'team-a'),
    keys: field
      .list(
        key,
        'API keys, each by where it comes from; a key itself never stands here.',
        '[{ env: TEAM_A_KEY }]',
      )
      .prefault([]),
    weight: field
      .decimal('Share of what is left, against the other tenants’ weights.', '2', 0, 1000)
      .prefault(1),
    bands: field
      .described(z.array(bandName()).min(1), 'Bands the tenant may use.', {
        allowed: `a list of at least one of ${BANDS.join(', ')}`,
        example: '[interactive, standard]',
      })
      .prefault(BANDS.slice(BANDS.indexOf('standard'))),
    limits: limits('Limits of the tenant, all models together.').prefault({}),
    modelLimits: field
      .described(
        // That each is the name of a model is seen in references.ts, which knows the models.
        z.record(z.string(), limits('Limits of the tenant on this model.')),
        'Limits of the tenant on single models, beside those on all together.',
        {
          allowed: 'a mapping from names of models to limits',
          example: '{ assistant: { requestsPerMinute: 60 } }',
        },
      )
      .prefault({}),
    quota: quota.nullable().prefault(null),
  },
);
