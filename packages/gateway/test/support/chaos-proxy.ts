/**
 * A TCP server that plays an engine byte by byte: sends so much of an answer and then resets, stops, or goes on for
 * ever. Ours, because faults have to fall on exact bytes.
 */
import { createServer, type Socket } from 'node:net';
import type { EndpointAddress } from '@aim-gpu/core';

/** What happens after the bytes. */
type After = 'reset' | 'end' | 'stall' | 'keep';

/** A script for one connection's requests. */
interface Script {
  readonly bytes: Buffer;
  readonly after: After;
}

/** Does as it likes with the socket of the n-th request, whose bytes it is given. */
type Player = (socket: Socket, request: number, bytes: string) => void;

/** A running chaos server. */
export interface ChaosEngine {
  readonly address: EndpointAddress;
  /** Requests that arrived. */
  readonly requests: () => number;
  readonly sockets: () => number;
  /** Bytes that each open connection was given to send. */
  readonly written: () => readonly number[];
  play(script: Script | Player): void;
  close(): Promise<void>;
}

/** Starts one on a free port. Requests are told apart by their blank line; bodies are not read as requests. */
export async function startChaosEngine(): Promise<ChaosEngine> {
  let script: Script | Player = {
    bytes: Buffer.alloc(0),
    after: 'stall',
  };
  let requests = 0;
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => undefined);
    let seen = '';
    socket.on('data', (chunk) => {
      seen += chunk.toString('latin1');
      const head = seen.indexOf('\r\n\r\n');
      if (head < 0) return;
      const length = Number(/content-length: (\d+)/i.exec(seen)?.[1] ?? 0);
      if (seen.length < head + 4 + length) return;
      const request = seen;
      seen = '';
      requests += 1;
      if (typeof script === 'function') script(socket, requests, request);
      else perform(socket, script);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const bound = server.address();
  return {
    address: {
      host: '127.0.0.1',
      port: typeof bound === 'object' && bound !== null ? bound.port : 0,
    },
    requests: () => requests,
    sockets: () => sockets.size,
    written: () => [...sockets].map(({ bytesWritten }) => bytesWritten),
    play: (next) => {
      script = next;
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}

function perform(socket: Socket, { bytes, after }: Script): void {
  if (after === 'end') {
    socket.end(bytes);
    return;
  }
  // Writing nothing never calls back.
  if (bytes.length === 0) {
    if (after === 'reset') socket.resetAndDestroy();
    return;
  }
  socket.write(bytes, () => {
    // The reset must not overtake the bytes on their way.
    if (after === 'reset') setTimeout(() => socket.resetAndDestroy(), 2);
  });
}

/** An answer in one piece. */
export function wholeAnswer(document: object): Buffer {
  const body = JSON.stringify(document);
  return Buffer.from(
    `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}

/** An event stream, one chunk for each event. */
export function eventStream(events: readonly (string | Buffer)[], end = true): Buffer {
  const head =
    'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n';
  const chunks = events.map((event) => {
    const bytes = Buffer.from(event);
    return Buffer.concat([
      Buffer.from(`${bytes.length.toString(16)}\r\n`),
      bytes,
      Buffer.from('\r\n'),
    ]);
  });
  return Buffer.concat([Buffer.from(head), ...chunks, Buffer.from(end ? '0\r\n\r\n' : '')]);
}
