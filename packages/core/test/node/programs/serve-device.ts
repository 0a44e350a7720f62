/**
 * Serves a device on a socket, says "serving" and goes on until it is killed.
 */
import { serveSharedDevice } from '../../../src/node/index.js';
import { createFakeDevice } from '../fake-device.js';

const [socketPath] = process.argv.slice(2);
if (socketPath === undefined) throw new Error('usage: serve-device SOCKET');

await serveSharedDevice({ device: createFakeDevice(), socketPath });
process.stdout.write('serving\n');
