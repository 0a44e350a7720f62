import { createLlamaCppEngine, createSglangEngine, createVllmEngine } from '@aim-gpu/backends';
import { AimError, bytes, type LaunchCommand } from '@aim-gpu/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { anInstanceSpec } from '../support/an-instance-spec.js';

// Keys near the limits' own names, so that spellings which slip past the check are likely to be tried.
const nearKeys = [
  'port',
  'host',
  'gpu-memory-utilization',
  'max-model-len',
  'tensor-parallel-size',
  'tp',
  'ctx-size',
  'c',
  'mem-fraction-static',
  'max-total-tokens',
  'parallel',
];
const key = fc.oneof(
  fc.constantFrom(...nearKeys),
  fc
    .tuple(fc.constantFrom(...nearKeys), fc.nat(20))
    .map(([name, length]) => name.slice(0, length + 1)),
  fc.constantFrom(...nearKeys).map((name) => name.replaceAll('-', '_')),
  fc.stringMatching(/^[a-z][a-z0-9]{0,6}(-[a-z0-9]{1,6}){0,3}$/),
  fc.string(),
);
const value = fc.oneof(
  fc.constantFrom(null, true, false),
  fc.double(),
  fc.string(),
  fc.array(fc.oneof(fc.string(), fc.integer()), { maxLength: 3 }),
  fc.dictionary(fc.string(), fc.jsonValue(), { maxKeys: 2 }),
);
const args = fc.dictionary(key, value, { maxKeys: 4 });

/** The value an engine would take for a flag: the last one wins, in either form. */
function lastValue({ argv }: LaunchCommand, flags: readonly string[]): string | undefined {
  let found: string | undefined;
  argv.forEach((argument, index) => {
    for (const flag of flags) {
      if (argument === flag) found = argv[index + 1];
      else if (argument.startsWith(`${flag}=`)) found = argument.slice(flag.length + 1);
    }
  });
  return found;
}

/** Spellings of a flag with the value it must end up with. */
type Limits = readonly (readonly [readonly string[], string])[];

const cases = [
  {
    engine: createVllmEngine(),
    limits: (port: number, kv: number): Limits => [
      [['--port'], String(port)],
      [['--host'], '127.0.0.1'],
      [['--gpu-memory-utilization', '--gpu_memory_utilization'], '0.2084'],
      [['--kv-cache-memory-bytes'], String(kv)],
      [['--max-model-len'], '8192'],
      [['--max-num-seqs'], '16'],
      [['--tensor-parallel-size', '--tp', '-tp'], '1'],
    ],
  },
  {
    engine: createSglangEngine(),
    limits: (port: number, kv: number): Limits => [
      [['--port'], String(port)],
      [['--max-total-tokens'], String(Math.floor(kv / 131_072))],
      [['--context-length'], '8192'],
      [['--max-running-requests'], '16'],
    ],
  },
  {
    engine: createLlamaCppEngine(),
    limits: (port: number, kv: number): Limits => [
      [['--port'], String(port)],
      [['--ctx-size', '-c', '--c'], String(Math.min(8192 * 16, Math.floor(kv / 131_072)))],
      [['--parallel', '-np', '--np'], '16'],
    ],
  },
] as const;

describe.each(cases)('$engine.name', ({ engine, limits }) => {
  it('starts within its limits whatever the user asked for, or refuses', () => {
    fc.assert(
      fc.property(
        args,
        fc.integer({ min: 1, max: 65_535 }),
        fc.integer({ min: 131_072, max: 2 ** 37 }),
        (userArgs, port, kv) => {
          const spec = anInstanceSpec({
            workload: {
              source: '/m.gguf',
              engine: { name: engine.name, version: null, args: userArgs },
            },
            envelope: { kvCacheMemoryBytes: bytes(kv) },
            port,
          });
          let command: LaunchCommand;
          try {
            command = engine.toCommand(spec);
          } catch (error) {
            expect(AimError.is(error, 'ERR_CONFIG_INVALID')).toBe(true);
            return;
          }
          for (const [flags, wanted] of limits(port, kv)) {
            expect(lastValue(command, flags)).toBe(wanted);
          }
          expect(command.argv.every((argument) => typeof argument === 'string')).toBe(true);
          expect(command.env).toEqual(spec.envelope.env);
        },
      ),
      { numRuns: 500 },
    );
  });
});
