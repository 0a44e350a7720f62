import { expect, test } from 'vitest';
import { type PredictOptions, toEngineFamily, toLoadCurve, toSvg } from '../src/index.js';
import { aPartition, aStep } from './models.js';

const options: PredictOptions = {
  step: aStep('Llama-3-8B'),
  speed: aPartition('SPX'),
  traffic: { promptTokens: 600, outputTokens: 150, arrivals: { kind: 'closed', concurrency: 1 } },
  kvCapacityTokens: 500_000,
  maxNumSeqs: 128,
};

test('a curve doubles the clients, and what cannot be served is left out', () => {
  const curve = toLoadCurve('whole card', options, 64);
  expect(curve.points.map((point) => point.concurrency)).toEqual([1, 2, 4, 8, 16, 32, 64]);
  const pace = curve.points.map((point) => point.prediction.tpotMs.mean);
  expect([...pace].sort((a, b) => a - b)).toEqual(pace);
  expect(toLoadCurve('tiny', { ...options, kvCapacityTokens: 100 }).points).toEqual([]);
});

test('the drawing is well formed, names its curves safely and stays in its frame', () => {
  const svg = toSvg([
    toLoadCurve('8B <whole> & "all"', options, 64),
    toLoadCurve('one XCD', { ...options, speed: aPartition('CPX', 'NPS4') }, 64),
    { name: 'nothing', points: [] },
  ]);
  expect(svg.startsWith('<svg xmlns="http://www.w3.org/2000/svg"')).toBe(true);
  expect(svg).toContain('8B &#60;whole&#62; &#38; &#34;all&#34;');
  expect(svg.match(/<polyline/g)).toHaveLength(2);
  expect(svg).not.toMatch(/NaN|Infinity|undefined/);
  for (const [, px, py] of svg.matchAll(/(-?[\d.]+),(-?[\d.]+)/g)) {
    expect(Number(px)).toBeGreaterThanOrEqual(0);
    expect(Number(px)).toBeLessThanOrEqual(720);
    expect(Number(py)).toBeGreaterThanOrEqual(0);
    expect(Number(py)).toBeLessThanOrEqual(420);
  }
});

test.each([
  ['vllm', undefined, 'vllm'],
  ['vLLM', 'v0.19.0', 'vllm'],
  ['vllm', '0.5.4', 'vllm-2024'],
  ['sglang', '0.5', 'sglang'],
  ['atom', undefined, 'atom'],
  ['simulated', undefined, 'vllm'],
  ['llama.cpp', 'b5000', 'vllm'],
  ['vllm-2024', undefined, 'vllm-2024'],
  ['tgi', undefined, null],
] as const)('%s %s is of family %s', (name, version, family) => {
  expect(toEngineFamily(name, version)).toBe(family);
});
