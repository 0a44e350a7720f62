import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createEngineSimulation, createStepModel, type EngineSequence } from '../src/index.js';
import { aPartition, aStep } from './models.js';

const model = createStepModel({ step: aStep('Llama-3-8B'), speed: aPartition('CPX', 'NPS4') });

const request = fc.record({
  promptTokens: fc.integer({ min: 1, max: 150 }),
  outputTokens: fc.integer({ min: 1, max: 90 }),
  prefix: fc.integer({ min: 0, max: 3 }),
  cancelAfter: fc.option(fc.integer({ min: 0, max: 40 }), { nil: null }),
});

test('every request ends, blocks never exceed the pool and all come back', () => {
  fc.assert(
    fc.property(
      fc.array(request, { minLength: 1, maxLength: 30 }),
      fc.integer({ min: 17, max: 60 }),
      fc.integer({ min: 1, max: 12 }),
      fc.integer({ min: 16, max: 300 }),
      (requests, kvBlocks, maxNumSeqs, maxNumBatchedTokens) => {
        const engine = createEngineSimulation({
          model,
          kvBlocks,
          blockSize: 16,
          maxNumSeqs,
          maxNumBatchedTokens,
        });
        const sequences: EngineSequence[] = requests.map((entry, index) =>
          engine.enqueue({
            id: String(index),
            promptTokens: entry.promptTokens,
            outputTokens: entry.outputTokens,
            blockKeys: Array.from(
              { length: Math.floor(entry.promptTokens / 16) },
              (_, block) => `${entry.prefix}-${block}`,
            ),
          }),
        );
        let emitted = 0;
        for (let step = 0; step < 20_000; step += 1) {
          for (const [index, entry] of requests.entries())
            if (entry.cancelAfter === step) engine.cancel(String(index));
          const done = engine.step();
          const counters = engine.counters();
          expect(counters.kvBlocksUsed).toBeGreaterThanOrEqual(0);
          expect(counters.kvBlocksUsed).toBeLessThanOrEqual(counters.kvBlocksTotal);
          expect(counters.running).toBeLessThanOrEqual(maxNumSeqs);
          expect(done.decodes + done.prefillTokens).toBeLessThanOrEqual(maxNumBatchedTokens);
          expect(done.durationMs).toBeGreaterThanOrEqual(0);
          emitted += done.emitted.length;
          if (done.kind === 'idle') break;
        }
        for (const sequence of sequences) {
          expect(['finished', 'cancelled']).toContain(sequence.state);
          if (sequence.state === 'finished')
            expect(sequence.generatedTokens).toBe(sequence.outputTokens);
        }
        expect(engine.counters()).toMatchObject({
          running: 0,
          waiting: 0,
          kvBlocksUsed: 0,
          generatedTokens: emitted,
        });
      },
    ),
    { numRuns: 150 },
  );
});
