/**
 * Takes the lock "agent" of a state directory and says "held" or the error's code. With "held" it then waits for
 * a line: "release" gives the lock back and exits, "exit" exits without giving it back.
 */
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { AimError } from '../../../src/index.js';
import { createFileStateStore } from '../../../src/node/index.js';

const [directory] = process.argv.slice(2);
if (directory === undefined) throw new Error('usage: hold-lock DIRECTORY');

try {
  const lease = await createFileStateStore({ directory }).lock('agent');
  process.stdout.write('held\n');
  const [line] = await once(createInterface({ input: process.stdin }), 'line');
  if (line === 'release') await lease.release();
  process.exit(0);
} catch (error) {
  process.stdout.write(`${AimError.is(error) ? error.code : String(error)}\n`);
}
