/**
 * What a simulated engine and the simulated device say to each other over a unix socket: one JSON object a line, one
 * connection for each tenancy. Owns the messages and the line reader of both ends.
 */
import type { Socket } from 'node:net';
import type { ErrorDocument } from '../errors.js';
import type { CoTenantActivity, DeviceMemory, DeviceTenant } from '../shared-device.js';

/** From the engine. */
export type ClientMessage =
  | { readonly type: 'attach'; readonly tenant: DeviceTenant }
  | { readonly type: 'report'; readonly busy: number }
  | { readonly type: 'release' };

/** From the device. */
export type ServerMessage =
  | { readonly type: 'attached'; readonly memory: DeviceMemory }
  | { readonly type: 'refused'; readonly error: ErrorDocument }
  | { readonly type: 'activity'; readonly activity: CoTenantActivity }
  | { readonly type: 'released' };

/** Longest line; a peer that sends more is not one of ours. */
const MAX_LINE_BYTES = 64 * 1024;

/** Sends one message. */
export function send(socket: Socket, message: ClientMessage | ServerMessage): void {
  if (socket.writable) socket.write(`${JSON.stringify(message)}\n`);
}

/** Calls back with each message of a peer; a line that is no message, or too long, ends the connection. */
export function onMessages<M>(socket: Socket, callback: (message: M) => void): void {
  let pending = '';
  socket.setEncoding('utf8');
  socket.on('data', (text: string) => {
    pending += text;
    for (let end = pending.indexOf('\n'); end >= 0; end = pending.indexOf('\n')) {
      const line = pending.slice(0, end);
      pending = pending.slice(end + 1);
      const message = parseLine<M>(line);
      if (message === null) {
        socket.destroy(new Error('the peer does not speak the shared-device protocol'));
        return;
      }
      callback(message);
    }
    if (pending.length > MAX_LINE_BYTES) socket.destroy(new Error('the peer sent an endless line'));
  });
}

function parseLine<M>(line: string): M | null {
  try {
    const value: unknown = JSON.parse(line);
    const isMessage =
      typeof value === 'object' &&
      value !== null &&
      'type' in value &&
      typeof value.type === 'string';
    return isMessage ? (value as M) : null;
  } catch {
    return null;
  }
}
