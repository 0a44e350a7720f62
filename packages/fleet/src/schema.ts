/**
 * The edge: the strict schema of a fleet file, from which the check, the defaults and the editor's JSON Schema all
 * come. Owns the sections and the policy; nodes, models and tenants have files of their own. What spans several places
 * (names, cycles) is in references.ts.
 */
import { z } from 'zod';
import * as field from './fields.js';
import { gatewaySchema } from './gateway-schema.js';
import { modelSchema } from './model-schema.js';
import { nodeSchema } from './node-schema.js';
import type { FleetFile } from './shape.js';
import { tenantSchema } from './tenant-schema.js';

/** The one version of the file format this package reads. */
export const API_VERSION: FleetFile['apiVersion'] = 'aim-gpu/v1alpha1';

const policy = field.section(
  'What the planner may do and must keep, and the gateway.',
  '{ objective: stable }',
  {
    objective: field
      .word('What the planner prefers.', ['pack', 'spread', 'latency', 'stable'], 'stable')
      .prefault('stable'),
    repartition: field
      .section('Whether and how long cards may be repartitioned.', '{ allow: true }', {
        allow: field.flag('Whether layouts may change.').prefault(true),
        maxDowntime: field
          .time('Longest time a change may stop an instance.', '2m', 's')
          .prefault('2m'),
      })
      .prefault({}),
    memoryReserve: field.share('Of each partition, never handed out.', '2%', 0, 50).prefault('2%'),
    slowdown: field
      .share(
        'Most that co-tenants of a partition may cost a critical or interactive model at the expected loads.',
        '10%',
        0,
        100,
      )
      .prefault('10%'),
    gateway: gatewaySchema.prefault({}),
  },
);

/** The strict schema of a fleet file: what it yields has every default that does not depend on another value. */
export const fleetSchema: z.ZodType<FleetFile> = field
  .section('Nodes, models, tenants and policy of a fleet.', `apiVersion: ${API_VERSION}`, {
    apiVersion: field.word('Version of this file format.', [API_VERSION], API_VERSION),
    kind: field.word('What this file is.', ['Fleet'], 'Fleet'),
    metadata: field
      .section('About the fleet.', '{ name: quickstart }', {
        name: field.name('Name of the fleet.', 'quickstart').prefault('fleet'),
      })
      .prefault({}),
    nodes: field.described(z.array(nodeSchema).min(1), 'Machines with cards.', {
      allowed: 'a list of at least one node',
      example: '[{ name: node-a }]',
    }),
    models: field.described(z.array(modelSchema).min(1), 'Models to run.', {
      allowed: 'a list of at least one model',
      example: '[{ name: assistant, source: meta-llama/Llama-3.1-8B-Instruct }]',
    }),
    tenants: field
      .list(tenantSchema, 'Who may send requests; none is everybody, on loopback only.', '[]')
      .prefault([]),
    policy: policy.prefault({}),
  })
  .meta({ title: 'AIM GPU Sharing fleet' });
