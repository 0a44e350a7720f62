import { expect, test } from 'vitest';
import { createStepModel, explainStep } from '../src/index.js';
import { aPartition, aStep } from './models.js';

test('names the partition, what binds it and what does not shrink', () => {
  const model = createStepModel({ step: aStep('Llama-3-8B'), speed: aPartition('CPX', 'NPS4') });
  const text = explainStep(model, { batch: 4, contextTokens: 2000, promptTokens: 600 }).join('\n');
  for (const part of [
    '1 XCD of MI300X (CPX/NPS4)',
    '0.70 TB/s',
    'bound by memory bandwidth',
    'does not stretch it',
    'a prompt of 600 tokens',
  ])
    expect(text).toContain(part);
});

test('names the ranks, and compute where it binds', () => {
  const model = createStepModel({
    step: aStep('Llama-3-8B'),
    speed: aPartition('SPX'),
    tensorParallel: 2,
  });
  const text = explainStep(model, { batch: 4000, contextTokens: 1, promptTokens: 1 }).join('\n');
  expect(text).toContain('× 2');
  expect(text).toContain('bound by compute');
});
