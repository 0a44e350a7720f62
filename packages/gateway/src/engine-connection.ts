/**
 * One connection to an engine, made anew when it has broken. Owns what tells a kept connection that its engine had closed
 * meanwhile from an engine that fails; what follows from that is upstream.ts's.
 */
import type { Socket } from 'node:net';
import { buildConnector, Client, type Dispatcher } from 'undici';

/** Who wants to know by which connection it was sent. */
export interface ConnectionUser {
  connection: EngineConnection | null;
}

/** What undici is asked to send; it takes no notice of the user. */
export interface ConnectionOptions extends Dispatcher.DispatchOptions {
  readonly user: ConnectionUser;
}

// vLLM's server drops idle connections after 5 s; a connection that is kept longer meets a reset.
const KEEP_ALIVE_MS = 4_000;
const CONNECT_TIMEOUT_MS = 5_000;

/** How connections are kept, for the pools that make them too. */
export const CONNECTION_SETTINGS: Omit<Client.Options, 'connect'> = {
  pipelining: 1,
  keepAliveTimeout: KEEP_ALIVE_MS,
  keepAliveMaxTimeout: KEEP_ALIVE_MS,
  // How long an answer may take is the exchange's to say.
  headersTimeout: 0,
  bodyTimeout: 0,
};

interface Use {
  socket: Socket | null;
  /** Bytes of the socket that were answers in full; 0 on a fresh one. */
  answeredBytes: number;
}

/** A connection. */
export class EngineConnection extends Client {
  private readonly use: Use;

  constructor(origin: string | URL) {
    const use: Use = { socket: null, answeredBytes: 0 };
    const connect = buildConnector({ timeout: CONNECT_TIMEOUT_MS });
    super(origin, {
      ...CONNECTION_SETTINGS,
      connect: (to, callback) =>
        connect(to, (...result) => {
          // Undefined beside an error, whatever the types say.
          use.socket = (result[1] as Socket | null | undefined) ?? null;
          use.answeredBytes = 0;
          callback(...result);
        }),
    });
    this.use = use;
  }

  override dispatch(options: ConnectionOptions, handler: Dispatcher.DispatchHandler): boolean {
    options.user.connection = this;
    return super.dispatch(options, handler);
  }

  /** An answer has come in full. */
  answered(): void {
    const { use } = this;
    if (use.socket !== null) use.answeredBytes = use.socket.bytesRead;
  }

  /** Whether it had carried an answer, and not a byte has come since. */
  get isStale(): boolean {
    const { socket, answeredBytes } = this.use;
    return answeredBytes > 0 && socket?.bytesRead === answeredBytes;
  }
}
