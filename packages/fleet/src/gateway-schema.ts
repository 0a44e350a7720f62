/**
 * The schema of what a fleet file says of the gateway. Owns its keys; the figures it fills in are core's.
 */
import { type BandTimeouts, DEFAULT_GATEWAY_POLICY, GIB, KIB } from '@aim-gpu/core';
import type { z } from 'zod';
import * as field from './fields.js';
import { sizeText, timeText } from './quantity-text.js';
import type { GatewayShape, TimeoutsShape } from './shape.js';
import { byBand } from './shared-words.js';

/** The gateway holds no more than that of all bodies together. */
const MOST_BODY_BYTES = GIB / 4;
/** Clients give up long before, and timers end at 24 days. */
const MOST_HOLD_MS = 3_600_000;

const { maxBodyBytes, holdMs, openPerTenant, timeouts } = DEFAULT_GATEWAY_POLICY;

const bounded = (
  schema: z.ZodType<number>,
  description: string,
  most: { readonly value: number; readonly least: number; readonly allowed: string },
  example: string,
): z.ZodType<number> =>
  field.described(
    schema.refine((value) => value >= most.least && value <= most.value),
    description,
    { allowed: most.allowed, example },
  );

const timeoutsOf = (band: string, defaults: BandTimeouts): z.ZodType<TimeoutsShape<number>> =>
  field.section(`Longest times of a request of band ${band}.`, '{ total: 2h }', {
    firstByte: field
      .time('From sending to the first byte of the answer.', '10m', 's')
      .prefault(timeText(defaults.firstByteMs)),
    idle: field
      .time('Between two pieces of an answer, and for a client that does not read.', '2m', 's')
      .prefault(timeText(defaults.idleMs)),
    total: field
      .time('From the request read to the last byte.', '2h', 's')
      .prefault(timeText(defaults.totalMs)),
  });

/** Bounds of requests at the gateway. */
export const gatewaySchema: z.ZodType<GatewayShape<number, number>> = field.section(
  'Bounds of requests at the gateway.',
  '{ maxBody: 20MiB, hold: 10s }',
  {
    maxBody: bounded(
      field.size('Size.', '20MiB'),
      'Largest body of a request.',
      {
        least: KIB,
        value: MOST_BODY_BYTES,
        allowed: 'a size from 1KiB to 256MiB',
      },
      '20MiB',
    ).prefault(sizeText(maxBodyBytes)),
    hold: bounded(
      field.time('Time.', '10s', 's'),
      'Longest wait for a model that has no ready instance now.',
      { least: 0, value: MOST_HOLD_MS, allowed: 'a time above zero, 1h at most' },
      '10s',
    ).prefault(timeText(holdMs)),
    openPerTenant: field
      .count('Requests that one tenant may have open at the same time.', '4096')
      .prefault(openPerTenant),
    timeouts: field
      .section('Longest times of a request, by its band.', '{ batch: { total: 2h } }', {
        ...byBand((band) => timeoutsOf(band, timeouts[band]).prefault({})),
      })
      .prefault({}),
  },
);
