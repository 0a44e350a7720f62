import { AimError } from '@aim-gpu/core';
import { describe, expect, test } from 'vitest';
import { loadFormulas, sizeModel } from '../src/index.js';
import { denseModel } from './fixtures.js';

const MIB = 2 ** 20;

async function refusal(run: () => unknown): Promise<AimError> {
  try {
    await run();
  } catch (error) {
    if (AimError.is(error, 'ERR_CONFIG_INVALID')) return error;
    throw error;
  }
  throw new Error('was not refused');
}

describe('formulas of the user', () => {
  test('replace their components and may speak of the weights', async () => {
    const config = denseModel();
    const formulas = await loadFormulas(
      'formulas:\n  activation: 0.05 * weights + 512 MiB\n  graphs: layers * 10 MiB\n  context: max(predicted, 600 MiB)\n  nonTorch: "1e9"',
    );
    const plain = sizeModel(config);
    const own = sizeModel(config, { formulas });
    expect(own.perRank.weightsBytes).toBe(plain.perRank.weightsBytes);
    expect(own.perRank.activationBytes).toBe(
      Math.ceil(0.05 * plain.perRank.weightsBytes + 512 * MIB),
    );
    expect(own.perRank.graphBytes).toBe(80 * MIB);
    expect(own.perRank.contextBytes).toBe(600 * MIB);
    expect(own.perRank.nonTorchBytes).toBe(1e9);
    expect(own.assumptions.join()).toContain(
      'activation, graphs, context, nonTorch'.split(', ')[0],
    );
  });

  test('replaced weights are what the others see', async () => {
    const formulas = await loadFormulas(
      '{"formulas": {"weights": "2 GiB", "activation": "weights / 4"}}',
    );
    expect(sizeModel(denseModel(), { formulas }).perRank.activationBytes).toBe(512 * MIB);
  });

  test.each([
    ['another component', '{"formulas": {"kv": "1 GiB"}}'],
    ['an unknown name', '{"formulas": {"graphs": "process"}}'],
    ['an unknown function', '{"formulas": {"graphs": "import({})"}}'],
    ['an evaluation', '{"formulas": {"graphs": "evaluate(\\"1\\")"}}'],
    ['an assignment', '{"formulas": {"graphs": "weights = 3"}}'],
    ['a function of its own', '{"formulas": {"graphs": "f(x) = x"}}'],
    ['a property', '{"formulas": {"graphs": "weights.constructor"}}'],
    ['a list', '{"formulas": {"graphs": "[1, 2]"}}'],
    ['text', '{"formulas": {"graphs": "\\"1\\""}}'],
    ['several statements', '{"formulas": {"graphs": "1; 2"}}'],
    ['broken arithmetic', '{"formulas": {"graphs": "1 +"}}'],
    ['no YAML', '{"formulas": '],
    ['something else', '[]'],
  ])('%s is refused', async (_name, text) => {
    expect((await refusal(() => loadFormulas(text))).hint).toMatch(/\S/);
  });

  test.each([
    ['a negative size', '0 MiB - weights'],
    ['no size', 'weights * weights'],
    ['sizes and numbers mixed', 'weights + 5'],
    ['infinity', '1 / 0'],
  ])('%s is refused when evaluated', async (_name, text) => {
    const formulas = await loadFormulas(JSON.stringify({ formulas: { graphs: text } }));
    await refusal(() => sizeModel(denseModel(), { formulas }));
  });
});
