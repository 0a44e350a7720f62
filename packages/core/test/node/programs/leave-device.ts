/**
 * Attaches to the shared device on a socket, says "attached" and has nothing more to do; never releases.
 */
import { bytes, cardId, instanceId, systemClock, workloadName } from '../../../src/index.js';
import { createSharedDeviceClient } from '../../../src/node/index.js';

const [socketPath] = process.argv.slice(2);
if (socketPath === undefined) throw new Error('usage: leave-device SOCKET');

const tenancy = await createSharedDeviceClient({ socketPath, clock: systemClock }).attach({
  instance: instanceId(workloadName('other'), 0),
  pid: process.pid,
  card: cardId('0000:0c:00.0'),
  partition: 0,
  memoryBytes: bytes(300),
});
tenancy.report(0.5);
process.stdout.write('attached\n');
