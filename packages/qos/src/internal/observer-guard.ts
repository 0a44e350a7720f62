/**
 * Calls the host's observer so that nothing it throws can break admission. Owns that promise only.
 */
import type { Logger } from '@aim-gpu/core';
import type { AdmitRequest, RefusalReason } from '../admission.js';
import type { QosObserver } from '../qos-interface.js';
import type { RequestOutcome } from '../slo-tracker.js';

export class ObserverGuard {
  readonly #observer: QosObserver;
  readonly #logger: Logger;

  constructor(observer: QosObserver, logger: Logger) {
    this.#observer = observer;
    this.#logger = logger;
  }

  granted(request: AdmitRequest, queueMs: number): void {
    if (this.#observer.granted === undefined) return;
    try {
      this.#observer.granted(request, queueMs);
    } catch (error) {
      this.#failed(error);
    }
  }

  refused(request: AdmitRequest, reason: RefusalReason): void {
    if (this.#observer.refused === undefined) return;
    try {
      this.#observer.refused(request, reason);
    } catch (error) {
      this.#failed(error);
    }
  }

  ended(request: AdmitRequest, outcome: RequestOutcome): void {
    if (this.#observer.ended === undefined) return;
    try {
      this.#observer.ended(request, outcome);
    } catch (error) {
      this.#failed(error);
    }
  }

  preempted(victim: AdmitRequest, by: AdmitRequest, wasStreaming: boolean): void {
    try {
      this.#observer.preempted?.(victim, by, wasStreaming);
    } catch (error) {
      this.#failed(error);
    }
  }

  leaked(request: AdmitRequest, endpoint: string, idleMs: number): void {
    try {
      this.#observer.leaked?.(request, endpoint, idleMs);
    } catch (error) {
      this.#failed(error);
    }
  }

  #failed(error: unknown): void {
    this.#logger.warn('observer-failed', {
      message: error instanceof Error ? error.message : 'unknown',
    });
  }
}
