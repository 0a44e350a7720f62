/**
 * A flood of equal batch streams on one engine in simulated time, with interactive requests beside it: what the bench
 * `gateway-flood` does over real processes, without their noise. Equal lengths are the worst case, because streams that
 * began together end together. Owns the driving only: qos is the product's own, the engine is performance's.
 */
import { type Band, createRng } from '@aim-gpu/core';
import { createManualClock, type ManualClock } from '@aim-gpu/core/testing';
import type { EngineSequence, EngineSimulation, StepModel } from '@aim-gpu/performance';
import { type Admission, createQos, type Permit, type Qos } from '@aim-gpu/qos';
import { aModel, anEngine, BLOCK, KV_TOKENS } from './engine.js';

/** What one flood is made of. */
export interface FloodOptions {
  /** Whether the flood's answers come whole, so that nobody sees their first token. */
  readonly whole?: boolean;
  /** The band of the flood; null is a flood of nobody. */
  readonly band: Band | null;
  /** Whether interactive requests come beside it. */
  readonly interactive: boolean;
}

/** What one flood measured. */
export interface FloodResult {
  /** Times to the first token of interactive requests, in milliseconds. */
  readonly ttftP99Ms: number;
  /** Tokens a second. */
  readonly floodPerSecond: number;
  readonly interactivePerSecond: number;
}

const SEATS = 32;
const STREAMS = 48;
const PROMPT_TOKENS = 208;
const FLOOD_TOKENS = 128;
const INTERACTIVE_TOKENS = 24;
const EVERY_MS = 250;
const WARM_UP_MS = 40_000;
const MEASURED_MS = 60_000;
const SAMPLE_MS = 1_000;
/** All prompts are the same, as the bench's are, so only their last tokens are computed. */
const BLOCKS: readonly string[] = Array.from(
  { length: Math.floor(PROMPT_TOKENS / BLOCK) },
  (_, index) => `block-${index}`,
);

interface Running {
  readonly permit: Permit;
  readonly isFlood: boolean;
  readonly askedMs: number;
  readonly ended: () => void;
}

class Flood {
  readonly #options: FloodOptions;
  readonly #clock: ManualClock = createManualClock();
  /** On a quarter of a card, which is what the quickstart's assistant has. */
  readonly #model: StepModel = aModel('QPX');
  readonly #engine: EngineSimulation;
  readonly #qos: Qos;
  readonly #running: Map<EngineSequence, Running> = new Map();
  readonly #ttft: number[] = [];
  #nextId: number = 0;
  #floodTokens: number = 0;
  #interactiveTokens: number = 0;

  constructor(options: FloodOptions) {
    this.#options = options;
    this.#engine = anEngine(this.#model, SEATS);
    this.#qos = createQos({ clock: this.#clock, rng: createRng(1) });
    this.#qos.setModel({ name: 'm', band: 'interactive' });
    this.#qos.setEndpoints('m', [
      { id: 'e', maxSeqs: SEATS, kvCapacityTokens: KV_TOKENS, ready: true, group: 'card/0' },
    ]);
  }

  async play(): Promise<FloodResult> {
    const clock = this.#clock;
    const endMs = WARM_UP_MS + MEASURED_MS;
    const { band } = this.#options;
    if (this.#options.interactive) {
      const arrive = (): void => {
        this.#ask('interactive', false, () => undefined);
        clock.timer(EVERY_MS, arrive);
      };
      clock.timer(EVERY_MS, arrive);
    }
    if (band !== null) {
      const again = (): void => this.#ask(band, true, again);
      for (let index = 0; index < STREAMS; index += 1) again();
    }
    const sample = (): void => {
      this.#observe();
      clock.timer(SAMPLE_MS, sample);
    };
    clock.timer(SAMPLE_MS, sample);
    while (clock.monoMs() < endMs) {
      const step = this.#engine.step();
      await clock.advance(step.kind === 'idle' ? 1 : step.durationMs);
      this.#answer(step.emitted, step.finished);
    }
    this.#qos.close();
    this.#ttft.sort((a, b) => a - b);
    return {
      ttftP99Ms: this.#ttft[Math.ceil(this.#ttft.length * 0.99) - 1] ?? Number.NaN,
      floodPerSecond: (this.#floodTokens / MEASURED_MS) * 1_000,
      interactivePerSecond: (this.#interactiveTokens / MEASURED_MS) * 1_000,
    };
  }

  #ask(band: Band, isFlood: boolean, ended: () => void): void {
    const about = { isFlood, askedMs: this.#clock.monoMs(), ended };
    const maxOutputTokens = isFlood ? FLOOD_TOKENS : INTERACTIVE_TOKENS;
    const request = { tenant: 't', model: 'm', band, promptTokens: PROMPT_TOKENS, maxOutputTokens };
    void this.#admitted(this.#qos.admit(request), about, maxOutputTokens);
  }

  async #admitted(
    admission: Promise<Admission>,
    about: Omit<Running, 'permit'>,
    outputTokens: number,
  ): Promise<void> {
    const result = await admission;
    if (!result.ok) return;
    const { permit } = result;
    let sequence: EngineSequence | null = null;
    let isCut = false;
    permit.onPreempt = () => {
      isCut = true;
      if (sequence !== null) {
        this.#running.delete(sequence);
        this.#engine.cancel(sequence.id);
      }
      void this.#admitted(permit.retry(), about, outputTokens);
    };
    this.#clock.timer(this.#model.frontEndMs, () => {
      if (isCut) return;
      this.#nextId += 1;
      const id = String(this.#nextId);
      const request = { id, promptTokens: PROMPT_TOKENS, outputTokens, blockKeys: BLOCKS };
      sequence = this.#engine.enqueue(request);
      this.#running.set(sequence, { ...about, permit });
    });
  }

  #answer(emitted: readonly EngineSequence[], finished: readonly EngineSequence[]): void {
    const nowMs = this.#clock.monoMs();
    const isMeasured = nowMs > WARM_UP_MS;
    for (const sequence of emitted) {
      const running = this.#running.get(sequence);
      if (running === undefined) continue;
      const isWhole = running.isFlood && this.#options.whole === true;
      if (sequence.generatedTokens === 1) {
        if (!isWhole) running.permit.firstByte();
        if (isMeasured && !running.isFlood) this.#ttft.push(nowMs - running.askedMs);
      }
      if (!isWhole) running.permit.tokens(1);
      if (!isMeasured) continue;
      if (running.isFlood) this.#floodTokens += 1;
      else this.#interactiveTokens += 1;
    }
    for (const sequence of finished) {
      const running = this.#running.get(sequence);
      this.#running.delete(sequence);
      if (running === undefined) continue;
      const { permit, ended } = running;
      if (running.isFlood && this.#options.whole === true) permit.firstByte({ whole: true });
      permit.usage({ promptTokens: PROMPT_TOKENS, outputTokens: sequence.generatedTokens });
      permit.done('complete');
      ended();
    }
  }

  #observe(): void {
    const counters = this.#engine.counters();
    this.#qos.observe('e', {
      running: counters.running,
      waiting: counters.waiting,
      kvUsage: counters.kvBlocksUsed / counters.kvBlocksTotal,
      kvCapacityTokens: KV_TOKENS,
      preemptionsTotal: counters.preemptions,
      promptTokensTotal: counters.promptTokens,
      generationTokensTotal: counters.generatedTokens,
    });
  }
}

/** Plays one flood. */
export function playFlood(options: FloodOptions): Promise<FloodResult> {
  return new Flood(options).play();
}
