/**
 * Takes the lock "agent" again and again until it had it ROUNDS times, and proves each time that nobody else has it:
 * a file that may only exist while the lock is held is made exclusively and removed. Says "done", or what went wrong.
 */
import { mkdir, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { AimError } from '../../../src/index.js';
import { createFileStateStore } from '../../../src/node/index.js';

const [directory, rounds] = process.argv.slice(2);
if (directory === undefined) throw new Error('usage: race-for-lock DIRECTORY ROUNDS');

const store = createFileStateStore({ directory });
const proof = join(directory, 'proof');
try {
  for (let won = 0; won < Number(rounds); ) {
    try {
      const lease = await store.lock('agent');
      await mkdir(proof);
      await rmdir(proof);
      await lease.release();
      won += 1;
    } catch (error) {
      if (!AimError.is(error, 'ERR_STATE_LOCKED')) throw error;
      await pause(1);
    }
  }
  process.stdout.write('done\n');
} catch (error) {
  process.stdout.write(`failed: ${String(error)}\n`);
}
