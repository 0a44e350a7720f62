/**
 * A client that says what no library would: bytes on a TCP connection, and everything that comes back.
 */
import { connect, type Socket } from 'node:net';

/** A connection with what it has heard. */
export interface RawClient {
  readonly socket: Socket;
  readonly heard: () => string;
  readonly isClosed: () => boolean;
}

/** Connects and writes. */
export function openRaw(port: number, bytes: string | Buffer): RawClient {
  const chunks: Buffer[] = [];
  let isClosed = false;
  const socket = connect(port, '127.0.0.1');
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  socket.on('error', () => undefined);
  socket.on('close', () => {
    isClosed = true;
  });
  socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes);
  return {
    socket,
    heard: () => Buffer.concat(chunks).toString('latin1'),
    isClosed: () => isClosed,
  };
}

/** The statuses of all answers in a text, in order. */
export function statusesOf(text: string): number[] {
  return [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status));
}
