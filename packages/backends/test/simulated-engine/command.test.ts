import { createSimulatedEngine } from '@aim-gpu/backends';
import { describe, expect, it } from 'vitest';
import { CONFIG_VARIABLE, parseSimulatedEngineConfig } from '../../src/simulated-engine/config.js';
import { anEnvelope, anEnvelopeShare, anInstanceSpec } from '../support/an-instance-spec.js';

const partition = {
  product: 'MI300X',
  xcds: 1,
  layout: { compute: 'CPX', memory: 'NPS4' },
} as const;
const engine = createSimulatedEngine({
  partitionOf: () => partition,
  sharedDeviceSocket: '/tmp/d.sock',
});
const configOf = (spec: ReturnType<typeof anInstanceSpec>) =>
  parseSimulatedEngineConfig(engine.toCommand(spec).env[CONFIG_VARIABLE] ?? '');

describe('the command of a simulated engine', () => {
  it('is a program of this package with everything it must know', () => {
    const spec = anInstanceSpec({
      workload: { aliases: ['small'], adapters: [{ name: 'legal', path: '/lora' }] },
    });
    const command = engine.toCommand(spec);
    expect(command.argv[0]).toBe(process.execPath);
    expect(command.argv.at(-1)).toMatch(/simulated-engine\/main\.ts$/);
    expect(command.env['ROCR_VISIBLE_DEVICES']).toBe('3');
    expect(configOf(spec)).toMatchObject({
      instance: 'chat-0',
      port: 9000,
      modelNames: ['chat', 'small'],
      adapterNames: ['legal'],
      maxModelLen: 8192,
      partition,
      shares: [{ card: '0000:0c:00.0', partition: 0, memoryBytes: 40 * 2 ** 30 }],
      prefixCache: true,
      sharedDeviceSocket: '/tmp/d.sock',
      startupMs: 300,
      step: spec.demand.step,
      kv: spec.demand.kv,
    });
  });

  it.each([
    ['its own start-up time', { 'startup-ms': 5 }, { startupMs: 5 }],
    ['no prefix cache', { 'enable-prefix-caching': false }, { prefixCache: false }],
    ['no prefix cache, spelt out', { 'no-enable-prefix-caching': null }, { prefixCache: false }],
    ['anything vLLM takes', { seed: 1 }, { prefixCache: true }],
  ])('%s', (_, args, expected) => {
    const spec = anInstanceSpec({
      workload: { engine: { name: 'simulated', version: null, args } },
    });
    expect(configOf(spec)).toMatchObject(expected);
  });

  it.each([
    ['a limit', { 'gpu-memory-utilization': 1 }],
    ['a function', { seed: () => 1 }],
    ['a start-up time in words', { 'startup-ms': 'soon' }],
    ['a start-up time before the start', { 'startup-ms': -1 }],
  ])('refuses %s', (_, args) => {
    const spec = anInstanceSpec({
      workload: { engine: { name: 'simulated', version: null, args } },
    });
    expect(() => engine.toCommand(spec)).toThrow(
      expect.objectContaining({ code: 'ERR_CONFIG_INVALID' }),
    );
  });

  it('refuses an instance without a share', () => {
    expect(() => engine.toCommand(anInstanceSpec({ envelope: { shares: [] } }))).toThrow(
      expect.objectContaining({ code: 'ERR_CONFIG_INVALID' }),
    );
  });

  it('has one share for each rank', () => {
    const shares = [0, 1].map((index) => anEnvelopeShare({ partition: index }));
    const spec = anInstanceSpec({
      workload: { parallel: { tensor: 2, pipeline: 1 } },
      envelope: anEnvelope({ shares }),
    });
    expect(configOf(spec)).toMatchObject({
      tensorParallel: 2,
      shares: [{ partition: 0 }, { partition: 1 }],
    });
  });

  it('may serve a model whose format only llama.cpp reads', () => {
    const spec = anInstanceSpec({ workload: { quantization: 'gguf:Q4_K_M' } });
    expect(configOf(spec).instance).toBe('chat-0');
  });
});

describe('a configuration that is none', () => {
  it.each([
    ['nothing', ''],
    ['no JSON', '{'],
    ['another shape', '{"instance": 1}'],
  ])('%s', (_, text) => {
    expect(() => parseSimulatedEngineConfig(text)).toThrow(
      expect.objectContaining({ code: 'ERR_CONFIG_INVALID' }),
    );
  });
});
