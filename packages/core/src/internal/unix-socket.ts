/**
 * Paths of unix sockets: their length limit, and files that a killed server left behind.
 */
import { chmod, lstat, unlink } from 'node:fs/promises';
import { connect, type Server } from 'node:net';
import { AimError } from '../errors.js';
import { errnoOf, toStateIoError } from './state-io-error.js';

/** sizeof(sockaddr_un.sun_path) less the final zero: 108 on Linux, 104 on macOS. */
const MAX_PATH_BYTES = process.platform === 'linux' ? 107 : 103;
const SOCKET_MODE = 0o600;

/** Throws `ERR_SOCKET_PATH` (invalid) for a path that the kernel would refuse or cut. */
export function assertSocketPath(path: string): void {
  const length = Buffer.byteLength(path);
  if (length > 0 && length <= MAX_PATH_BYTES) return;
  throw new AimError({
    code: 'ERR_SOCKET_PATH',
    kind: 'invalid',
    message: `a socket's path may have ${MAX_PATH_BYTES} bytes, ${path} has ${length}`,
    details: { path, length, limit: MAX_PATH_BYTES },
    hint: 'use a shorter state directory',
  });
}

/**
 * Makes a server listen on a path, private to this user; a socket that nobody answers any more is replaced. Throws
 * `ERR_DEVICE_SERVED` (conflict) when somebody does or the path is another kind of file, and `ERR_STATE_IO`.
 */
export async function listenOnSocket(server: Server, path: string): Promise<void> {
  assertSocketPath(path);
  try {
    if (await isThere(path)) {
      if (!(await isStale(path))) throw inUseError(path);
      await unlink(path);
    }
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(path, () => {
        server.removeListener('error', reject);
        resolve();
      });
    });
    await chmod(path, SOCKET_MODE);
  } catch (error) {
    throw errnoOf(error) === 'EADDRINUSE'
      ? inUseError(path)
      : toStateIoError(error, 'listen on', path);
  }
}

async function isThere(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return true;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return false;
    throw error;
  }
}

/** A socket whose server has gone refuses connections; anything else is not ours to remove. */
async function isStale(path: string): Promise<boolean> {
  if (!(await lstat(path)).isSocket()) return false;
  return new Promise((resolve) => {
    const probe = connect(path);
    probe.once('connect', () => {
      probe.destroy();
      resolve(false);
    });
    probe.once('error', (error) => resolve(errnoOf(error) === 'ECONNREFUSED'));
  });
}

function inUseError(path: string): AimError {
  return new AimError({
    code: 'ERR_DEVICE_SERVED',
    kind: 'conflict',
    message: `another process or another kind of file has ${path}`,
    details: { path },
    hint: 'stop the process that listens there, or use another state directory',
  });
}
