/**
 * The answer to a client as Node writes it, with the one who cares for it. Owns the three listeners that every answer
 * needs, one function each for all of them: a closure for each event of each request costs more than the events. Owns
 * the chunks of answers without a length, too: Node writes each in four pieces, which costs a token more than all the
 * rest of its way.
 */
import { type IncomingMessage, ServerResponse } from 'node:http';

/** Who is told what becomes of an answer. */
export interface ResponseOwner {
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

  /** Tells `owner` from now on; once for an answer. */
  own(owner: ResponseOwner): void {
    this.owner = owner;
    // Writing to a client that has just gone is no fault of anybody's.
    this.on('error', ignore);
    this.on('close', onClose);
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
  }

  /** Asks to be told of {@link ResponseOwner.drained}, which most answers never need. */
  watchDrain(): void {
    this.on('drain', onDrain);
  }

  /** @internal */
  tellClosed(): void {
    const { owner } = this;
    this.owner = null;
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

function ignore(): void {}

function onClose(this: ClientResponse): void {
  this.tellClosed();
}

function onDrain(this: ClientResponse): void {
  this.tellDrained();
}
