/**
 * The answer to a client as Node writes it, with the one who cares for it. Owns the three listeners that every answer
 * needs, one function each for all of them: a closure for each event of each request costs more than the events.
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

  /** Tells `owner` from now on; once for an answer. */
  own(owner: ResponseOwner): void {
    this.owner = owner;
    // Writing to a client that has just gone is no fault of anybody's.
    this.on('error', ignore);
    this.on('close', onClose);
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

function ignore(): void {}

function onClose(this: ClientResponse): void {
  this.tellClosed();
}

function onDrain(this: ClientResponse): void {
  this.tellDrained();
}
