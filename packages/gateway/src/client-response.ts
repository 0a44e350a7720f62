/**
 * The answer to a client as Node writes it, with the one who cares for it. Owns the three listeners that every answer
 * needs, one function each for all of them: a closure for each event of each request costs more than the events. Owns
 * the chunks of answers without a length, too: Node writes each in four pieces, which costs a token more than all the
 * rest of its way.
 */
import { type IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** Who is told what becomes of an answer. */
export interface ResponseOwner {
  /** The answer has been written, and a part of it waits for the client to read; `closed` comes when that is over. */
  unread(): void;
  /** The connection has closed or the answer is out; nothing more comes. */
  closed(): void;
  /** The client has read on. */
  drained(): void;
}

/** An answer with its owner. */
export class ClientResponse<
  Request extends IncomingMessage = IncomingMessage,
> extends ServerResponse<Request> {
  private owner: ResponseOwner | null = null;
  private isChunked: boolean = false;
  /** Who else stands behind others on its connection; null for an answer that never did. */
  private queued: Set<ClientResponse> | null = null;

  /** Tells `owner` from now on; once for an answer. */
  own(owner: ResponseOwner): void {
    this.owner = owner;
    // Writing to a client that has just gone is no fault of anybody's.
    this.on('error', ignore);
    this.on('close', onClose);
    // Behind another answer on its connection; most have it for themselves.
    if (this.socket === null) this.queued = queueOf(this.req.socket).add(this);
  }

  /**
   * Bytes that the client's side has not taken; null while answers before this one on its connection come first. Falls
   * with every byte, of one large write too: of that only the handle knows, by a field that Node keeps for itself.
   */
  get unsentBytes(): number | null {
    const { socket } = this;
    if (socket === null) return null;
    const { _handle: handle } = socket as { _handle?: { readonly writeQueueSize?: number } | null };
    return this.writableLength + (handle?.writeQueueSize ?? 0);
  }

  /** Sends the headers (names and values in turn) of an answer whose body comes by {@link pass} and {@link finish}. */
  begin(status: number, headers: string[]): void {
    this.writeHead(status, headers);
    // Node has announced chunks where the client knows them; from here on they are made here.
    this.isChunked = this.chunkedEncoding;
    this.chunkedEncoding = false;
  }

  /** Writes bytes that are not none. False when the client should be waited for. */
  pass(bytes: Buffer): boolean {
    return this.write(this.isChunked ? toChunk(bytes, NOTHING) : bytes);
  }

  /** Writes the last bytes, if any, and ends the answer. */
  finish(bytes: Buffer): void {
    if (this.isChunked) this.end(bytes.length === 0 ? LAST_CHUNK : toChunk(bytes, LAST_CHUNK));
    else if (bytes.length > ONE_PIECE_BYTES) this.end(bytes);
    else this.end(bytes.toString('latin1'), 'latin1');
    // What the kernel takes at once, as it does nearly always, is nobody's care any more.
    if (this.writableLength > 0) this.owner?.unread();
  }

  /** Asks to be told of {@link ResponseOwner.drained}, which most answers never need. */
  watchDrain(): void {
    this.on('drain', onDrain);
  }

  /** @internal */
  tellClosed(): void {
    const { owner } = this;
    this.owner = null;
    this.queued?.delete(this);
    owner?.closed();
  }

  /** @internal */
  tellDrained(): void {
    this.owner?.drained();
  }
}

/** A short text goes out in one piece with its headers, a buffer in two. */
const ONE_PIECE_BYTES = 16 * 1024;
const NOTHING = Buffer.alloc(0);
const LAST_CHUNK = Buffer.from('0\r\n\r\n');
const CR = 0x0d;
const LF = 0x0a;

/** Bytes as one chunk of a chunked body, with something behind it. */
function toChunk(bytes: Buffer, behind: Buffer): Buffer {
  const size = bytes.length.toString(16);
  const start = size.length + 2;
  const end = start + bytes.length;
  const chunk = Buffer.allocUnsafe(end + 2 + behind.length);
  chunk.write(size, 'latin1');
  chunk[start - 2] = CR;
  chunk[start - 1] = LF;
  chunk.set(bytes, start);
  chunk[end] = CR;
  chunk[end + 1] = LF;
  if (behind.length > 0) chunk.set(behind, end + 2);
  return chunk;
}

const QUEUES: WeakMap<Socket, Set<ClientResponse>> = new WeakMap();

/**
 * The answers that stand behind others on a connection. Node tells only the one whose turn it is that the connection
 * has closed; those behind it would never hear.
 */
function queueOf(socket: Socket): Set<ClientResponse> {
  const known = QUEUES.get(socket);
  if (known !== undefined) return known;
  const queue = new Set<ClientResponse>();
  QUEUES.set(socket, queue);
  socket.once('close', () => {
    for (const each of queue) each.tellClosed();
  });
  return queue;
}

function ignore(): void {}

function onClose(this: ClientResponse): void {
  this.tellClosed();
}

function onDrain(this: ClientResponse): void {
  this.tellDrained();
}
