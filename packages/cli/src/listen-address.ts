/**
 * Addresses to listen on, as the command line says them.
 */
import { AimError, type EndpointAddress } from '@aim-gpu/core';

/** Reads `host:port`, `[::1]:port` or `:port` (loopback). Throws `ERR_USAGE`. */
export function parseListenAddress(text: string, flag: string): EndpointAddress {
  const match = /^(?:\[([^\]]+)\]|([^:]*)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (match === null || port > 65_535) {
    throw new AimError({
      code: 'ERR_USAGE',
      kind: 'invalid',
      message: `${flag} must be host:port, not ${JSON.stringify(text)}`,
      hint: `for example ${flag} 127.0.0.1:8080`,
    });
  }
  const host = match[1] ?? match[2] ?? '';
  return { host: host === '' ? '127.0.0.1' : host, port };
}
