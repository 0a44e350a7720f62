/**
 * Appends 0, 1, 2, … to the journal "steps" and prints each number once its append has resolved.
 */
import { createFileStateStore } from '../../../src/node/index.js';

const [directory] = process.argv.slice(2);
if (directory === undefined) throw new Error('usage: append-forever DIRECTORY');

const journal = createFileStateStore({ directory }).journal<{ step: number; filler: string }>(
  'steps',
);
for (let step = 0; ; step += 1) {
  await journal.append({ step, filler: 'x'.repeat(10_000) });
  process.stdout.write(`${step}\n`);
}
