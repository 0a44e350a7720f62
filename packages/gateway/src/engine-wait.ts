/**
 * One exchange's wait for an engine: its place in qos's queue and, while no engine of its model is there at all, its
 * hold. Owns that both end together, with whichever comes first; most exchanges never wait.
 */
import type { Admission } from '@aim-gpu/qos';
import type { ExchangeRequest, ExchangeTools } from './exchange-request.js';
import type { HoldOutcome } from './model-hold.js';

/** Who waits; told one of these, once, unless it has cancelled. */
export interface WaitOwner {
  admitted(admission: Admission): void;
  /** No engine came in time; when a retry may help, if that is known. */
  unserved(retryAfterMs: number | null): void;
  crash(error: unknown): void;
}

/** One wait. */
export class EngineWait {
  private readonly tools: Pick<ExchangeTools, 'served' | 'holds'>;
  private readonly request: ExchangeRequest;
  private readonly owner: WaitOwner;
  /** When the last engine that could have answered was lost with the request; null while there are others. */
  private readonly lostMs: number | null;
  private readonly queue: AbortController = new AbortController();
  private hold: AbortController | null = null;
  private isOver: boolean = false;

  constructor(
    tools: Pick<ExchangeTools, 'served' | 'holds'>,
    request: ExchangeRequest,
    owner: WaitOwner,
    lostMs: number | null,
  ) {
    this.tools = tools;
    this.request = request;
    this.owner = owner;
    this.lostMs = lostMs;
  }

  /** Ends the place in the queue. */
  get signal(): AbortSignal {
    return this.queue.signal;
  }

  /** Goes on with what qos says. */
  follow(admission: Promise<Admission>): void {
    admission
      .then((result) => {
        if (this.isOver) {
          // It was granted in the moment in which it was cancelled.
          if (result.ok) result.permit.done('client_gone');
          return;
        }
        this.isOver = true;
        this.hold?.abort();
        this.owner.admitted(result);
      })
      .catch((error: unknown) => this.owner.crash(error));
    this.check();
  }

  /**
   * When nobody can answer it now, it is held as one is that comes while no engine is there. It keeps its place in the
   * queue all the same, which sends it as soon as an engine is ready.
   */
  check(): void {
    const { tools, request, lostMs, owner } = this;
    const served = tools.served.find(request.admit.model);
    if (this.isOver || this.hold !== null || served === undefined) return;
    if (served.unreadyMs === null) return;
    const wait = new AbortController();
    this.hold = wait;
    const { model, unreadyMs } = served;
    tools.holds
      .hold({ model: model.workload, sinceMs: lostMs ?? unreadyMs, wait })
      .then((outcome) => this.holdEnded(outcome))
      .catch((error: unknown) => owner.crash(error));
  }

  cancel(): void {
    this.isOver = true;
    this.queue.abort();
    this.hold?.abort();
  }

  private holdEnded(outcome: HoldOutcome): void {
    this.hold = null;
    if (this.isOver || outcome === 'ready') return;
    this.cancel();
    this.owner.unserved(outcome.retryAfterMs);
  }
}
