import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { readArchitectures, toStepDemand } from '../bench/serving-rows.js';
import { createStepModel, type EngineConstants, toPartitionSpeed } from '../src/index.js';
import { aProduct } from './models.js';

interface Vector {
  readonly fam: string;
  readonly gpu: string;
  readonly prec: string;
  readonly tp: number;
  readonly ef: string;
  readonly I: number;
  readonly O: number;
  readonly C: number;
  readonly rg: number;
  readonly kvd: string;
  readonly tpot_ms: number;
  readonly ttft_ms: number;
  readonly out_tok_s: number;
}

function fixture(name: string): unknown {
  return JSON.parse(readFileSync(path.join(import.meta.dirname, 'fixtures', name), 'utf8'));
}

const vectors = fixture('reference-vectors.json') as readonly Vector[];
const constants = fixture('reference-constants.json') as Readonly<Record<string, number>>;

function at(key: string): number {
  const value = constants[key];
  if (value === undefined) throw new Error(`no constant ${key}`);
  return value;
}

function referenceConstants(family: string): EngineConstants {
  const slow = family === 'aiter' || family === 'sglang';
  return {
    weightEfficiency: at(`bw_${family}`),
    kvEfficiency: at(`kv_${family}`),
    attentionEfficiency: 1e9,
    prefillEfficiency: at(`pf_${family}`),
    decodeEfficiency: at(`dc_${family}`),
    layerMs: 1000 * at(`tl_${family}`),
    sequenceMs: 1000 * at(`seq_${family}`),
    stepMs: 1000 * at('t0'),
    allReduceMs: 1000 * at('ar'),
    allReduceBytesPerSecond: at('arbw'),
    frontEndMs: 1000 * at(`tt0_${family}`),
    expertReadEfficiency: at('moe_bw'),
    expertSpread: at('beta'),
    expertComputeEfficiency: at('pfm'),
    fp4ComputeEfficiency: at('f4'),
    sparseLayerFactor: 1 + at('lidx'),
    expertLayerFactor: 1,
    fp8ReadEfficiency: 1,
    fp4ReadEfficiency: 1,
    cdna3LatencyFactor: slow ? at('l942') : 1,
    cdna3ComputeFactor: slow ? at('c942') : 1,
  };
}

describe('step formulas against another program with the same constants', () => {
  const architectures = readArchitectures();
  test.each(
    vectors.map(
      (vector) =>
        [
          `${vector.fam} ${vector.gpu} ${vector.prec} tp${vector.tp} ${vector.I}/${vector.O} c${vector.C}`,
          vector,
        ] as const,
    ),
  )('%s within 0.3 %%', (_name, vector) => {
    const architecture = architectures[vector.fam];
    if (architecture === undefined) throw new Error(vector.fam);
    const precision = vector.prec === 'fp8' ? 'fp8' : vector.prec === 'fp4' ? 'fp4' : 'fp16';
    const step = toStepDemand(vector.fam, architecture, precision, vector.kvd === 'fp8' ? 1 : 2);
    const product = aProduct(vector.gpu);
    const model = createStepModel({
      step,
      speed: toPartitionSpeed({
        product,
        xcds: product.xcds,
        layout: { compute: 'SPX', memory: 'NPS1' },
      }),
      tensorParallel: vector.tp,
      constants: referenceConstants(vector.ef),
    });
    // The loop of that program: a share of the prompts comes in bursts, the rest stalls decoding.
    const I = vector.I * vector.rg;
    const O = vector.O * vector.rg;
    const burst = at('burst');
    const memory = product.soldMemoryGb * 1e9 * vector.tp;
    const weights = step.alwaysReadBytes + step.routedExpertBytes;
    const copies = step.latentAttention ? vector.tp : Math.max(1, vector.tp / step.kvHeads);
    const pool = Math.max(0.88 * memory - weights, 0.02 * memory) / (step.kvBytesPerToken * copies);
    const B = Math.min(vector.C, Math.max(1, pool / (I + O / 2)));
    const d = model.decodeMs(B, I + O / 2);
    const p = model.prefillMs(I);
    const tpot = d + (((1 - burst) * (B - 1)) / O) * p;
    const ttft =
      model.frontEndMs +
      model.constants.stepMs +
      p +
      d / 2 +
      ((burst * (B - 1)) / 2) * p +
      (Math.max(0, vector.C - B) / B) * O * tpot;
    const rate = (0.976 * 1000 * vector.C * O) / (ttft + (O - 1) * tpot);
    expect(Math.abs(tpot / vector.tpot_ms - 1)).toBeLessThan(0.003);
    expect(Math.abs(ttft / vector.ttft_ms - 1)).toBeLessThan(0.003);
    expect(Math.abs(rate / vector.out_tok_s - 1)).toBeLessThan(0.003);
  });
});
