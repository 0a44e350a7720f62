/**
 * One engine on one partition, in simulated time, with qos in front of it or without. Owns the driving of both: qos is
 * the product's own, the engine is performance's discrete-event core; neither knows that the time is not real.
 */
import { BANDS, type Band, createRng, type Rng } from '@aim-gpu/core';
import { createManualClock, type ManualClock } from '@aim-gpu/core/testing';
import type { EngineSequence, EngineSimulation } from '@aim-gpu/performance';
import { type AdmitRequest, createQos, type Permit, type Qos } from '@aim-gpu/qos';
import { aModel, anEngine, KV_TOKENS } from './engine.js';

/** Demand of one band, as a share of what the engine can do. */
export type Shares = Readonly<Partial<Record<Band, number>>>;

/** What one run is made of. */
export interface RunOptions {
  readonly seed: number;
  /** Simulated seconds that are measured, after the warm-up. */
  readonly seconds: number;
  readonly warmUpSeconds: number;
  readonly shares: Shares;
  /** Requests a second that the engine can do; see {@link measureCapacity}. */
  readonly capacity: number;
  /** False sends everything to the engine as it comes, which is what a plain proxy does. */
  readonly qos: boolean;
}

/** Times of one band. */
interface BandResult {
  readonly asked: number;
  readonly completed: number;
  /** Ended in the measured time, whenever they came. */
  readonly perSecond: number;
  readonly refused: number;
  readonly ttftP50Ms: number;
  readonly ttftP99Ms: number;
  readonly tpotP50Ms: number;
  /** Of what was asked, what was answered within the band's targets. */
  readonly withinSlo: number;
}

/** What one run measured. */
export interface RunResult {
  readonly bands: Readonly<Partial<Record<Band, BandResult>>>;
  readonly requestsPerSecond: number;
  /** Share of the time in which the engine had nothing to do although something waited. */
  readonly idleWhileWaiting: number;
  /** |predicted − actual wait| ÷ actual, of everything that waited; median and 90th percentile. */
  readonly waitErrorP50: number | null;
  readonly waitErrorP90: number | null;
  readonly waited: number;
  readonly mostWaiting: number;
  readonly mostQueuedTokens: number;
  readonly preempted: number;
}

const PROMPT_TOKENS = 512;
const OUTPUT_TOKENS = 128;
const MAX_SEQS = 64;
const SAMPLE_MS = 1_000;
const TENANTS = 8;

const SLO: Readonly<Partial<Record<Band, { ttftMs: number; tpotMs: number }>>> = {
  critical: { ttftMs: 1_000, tpotMs: 50 },
  interactive: { ttftMs: 1_000, tpotMs: 50 },
  standard: { ttftMs: 2_000, tpotMs: 100 },
};

/** Between half and one and a half of the nominal length. */
function draw(rng: Rng, nominal: number): number {
  return Math.max(2, Math.round(nominal * (0.5 + rng.next())));
}

/** Requests a second of an engine that is never idle and always full. */
export function measureCapacity(seed: number): number {
  const engine = anEngine(aModel('SPX'), MAX_SEQS);
  const rng = createRng(seed);
  let id = 0;
  let nowMs = 0;
  let done = 0;
  const add = (): void => {
    id += 1;
    const lengths = {
      promptTokens: draw(rng, PROMPT_TOKENS),
      outputTokens: draw(rng, OUTPUT_TOKENS),
    };
    engine.enqueue({ id: String(id), ...lengths });
  };
  for (let index = 0; index < MAX_SEQS + 4; index += 1) add();
  let startMs = 0;
  while (done < 3_000) {
    const step = engine.step();
    nowMs += step.durationMs;
    for (const _ of step.finished) {
      done += 1;
      if (done === 500) startMs = nowMs;
      add();
    }
  }
  return (2_500 / (nowMs - startMs)) * 1_000;
}

interface Running {
  readonly permit: Permit | null;
  readonly band: Band;
  readonly askedMs: number;
  readonly promptTokens: number;
  readonly counted: boolean;
  firstMs: number;
}

interface Tally {
  asked: number;
  completed: number;
  ended: number;
  refused: number;
  good: number;
  readonly ttft: number[];
  readonly tpot: number[];
}

class Run {
  readonly #options: RunOptions;
  readonly #clock: ManualClock = createManualClock();
  readonly #rng: Rng;
  readonly #engine: EngineSimulation = anEngine(aModel('SPX'), MAX_SEQS);
  readonly #qos: Qos;
  readonly #running: Map<EngineSequence, Running> = new Map();
  readonly #tallies: Map<Band, Tally> = new Map();
  readonly #waits: { readonly predicted: number; readonly actual: number }[] = [];
  #nextId: number = 0;
  #idleMs: number = 0;
  #mostWaiting: number = 0;
  #mostTokens: number = 0;
  #preempted: number = 0;
  #nextSampleMs: number = SAMPLE_MS;

  constructor(options: RunOptions) {
    this.#options = options;
    this.#rng = createRng(options.seed);
    this.#qos = createQos({
      clock: this.#clock,
      rng: createRng(options.seed + 1),
      observer: {
        preempted: () => {
          this.#preempted += 1;
        },
      },
    });
    this.#qos.setModel({ name: 'm', band: 'interactive' });
    this.#qos.setEndpoints('m', [
      { id: 'e', maxSeqs: MAX_SEQS, kvCapacityTokens: KV_TOKENS, ready: true, group: 'card/0' },
    ]);
  }

  async play(): Promise<RunResult> {
    const { seconds, warmUpSeconds } = this.#options;
    const endMs = (seconds + warmUpSeconds) * 1_000;
    const arrivals = this.#arrivals(endMs);
    let next = 0;
    const arriveUntil = async (untilMs: number): Promise<void> => {
      for (; next < arrivals.length; next += 1) {
        const { atMs, band } = arrivals[next] as (typeof arrivals)[0];
        if (atMs > untilMs) break;
        await this.#advanceTo(atMs);
        this.#ask(band);
      }
      await this.#advanceTo(untilMs);
    };
    while (this.#clock.monoMs() < endMs) {
      const startMs = this.#clock.monoMs();
      const step = this.#engine.step();
      if (step.kind === 'idle') {
        const untilMs = Math.min(arrivals[next]?.atMs ?? endMs, startMs + 50, endMs);
        if (this.#qos.waiting > 0 && this.#isCounted(startMs)) this.#idleMs += untilMs - startMs;
        await arriveUntil(untilMs);
        continue;
      }
      await arriveUntil(startMs + step.durationMs);
      this.#answer(step.emitted, step.first, step.finished);
      this.#sample();
    }
    const result = this.#result();
    this.#qos.close();
    return result;
  }

  #arrivals(endMs: number): readonly { readonly atMs: number; readonly band: Band }[] {
    const arrivals: { atMs: number; band: Band }[] = [];
    for (const band of BANDS) {
      const perMs = ((this.#options.shares[band] ?? 0) * this.#options.capacity) / 1_000;
      if (perMs <= 0) continue;
      for (let atMs = 0; atMs < endMs; ) {
        atMs += -Math.log(1 - this.#rng.next()) / perMs;
        arrivals.push({ atMs, band });
      }
    }
    return arrivals.sort((a, b) => a.atMs - b.atMs);
  }

  async #advanceTo(atMs: number): Promise<void> {
    await this.#clock.advance(Math.max(0, atMs - this.#clock.monoMs()));
  }

  #isCounted(atMs: number): boolean {
    return atMs >= this.#options.warmUpSeconds * 1_000;
  }

  #tally(band: Band): Tally {
    let tally = this.#tallies.get(band);
    if (tally === undefined) {
      tally = { asked: 0, completed: 0, ended: 0, refused: 0, good: 0, ttft: [], tpot: [] };
      this.#tallies.set(band, tally);
    }
    return tally;
  }

  #ask(band: Band): void {
    const askedMs = this.#clock.monoMs();
    const counted = this.#isCounted(askedMs);
    const promptTokens = draw(this.#rng, PROMPT_TOKENS);
    const outputTokens = draw(this.#rng, OUTPUT_TOKENS);
    const tenant = `t${Math.floor(this.#rng.next() * TENANTS)}`;
    if (counted) this.#tally(band).asked += 1;
    const about = { band, askedMs, promptTokens, counted };
    if (!this.#options.qos) {
      this.#send({ ...about, permit: null, firstMs: 0 }, outputTokens);
      return;
    }
    const request: AdmitRequest = { tenant, model: 'm', band, promptTokens, bytes: 2_000 };
    const predicted = this.#qos.predictedWaitMs(request);
    void this.#admitted(this.#qos.admit(request), about, outputTokens, predicted);
    this.#mostWaiting = Math.max(this.#mostWaiting, this.#qos.waiting);
  }

  async #admitted(
    admission: ReturnType<Qos['admit']>,
    about: Pick<Running, 'band' | 'askedMs' | 'promptTokens' | 'counted'>,
    outputTokens: number,
    predicted: number | null,
  ): Promise<void> {
    const result = await admission;
    if (!result.ok) {
      if (about.counted) this.#tally(about.band).refused += 1;
      return;
    }
    const { permit } = result;
    const waited = permit.queueMs;
    if (predicted !== null && about.counted && waited > 0 && predicted > 0) {
      this.#waits.push({ predicted, actual: waited });
    }
    const sequence = this.#send({ ...about, permit, firstMs: 0 }, outputTokens);
    permit.signal.addEventListener('abort', () => {
      if (!this.#running.delete(sequence)) return;
      this.#engine.cancel(sequence.id);
      void this.#admitted(permit.retry(), about, outputTokens, null);
    });
  }

  #send(running: Running, outputTokens: number): EngineSequence {
    this.#nextId += 1;
    const id = String(this.#nextId);
    const sequence = this.#engine.enqueue({ id, promptTokens: running.promptTokens, outputTokens });
    this.#running.set(sequence, running);
    return sequence;
  }

  #answer(
    emitted: readonly EngineSequence[],
    first: readonly EngineSequence[],
    finished: readonly EngineSequence[],
  ): void {
    const nowMs = this.#clock.monoMs();
    for (const sequence of first) {
      const running = this.#running.get(sequence);
      if (running === undefined) continue;
      running.firstMs = nowMs;
      running.permit?.firstByte();
      if (running.counted) this.#tally(running.band).ttft.push(nowMs - running.askedMs);
    }
    for (const sequence of emitted) this.#running.get(sequence)?.permit?.tokens(1);
    for (const sequence of finished) {
      const running = this.#running.get(sequence);
      this.#running.delete(sequence);
      if (running === undefined) continue;
      running.permit?.usage({
        promptTokens: running.promptTokens,
        outputTokens: sequence.generatedTokens,
      });
      running.permit?.done('complete');
      if (this.#isCounted(nowMs)) this.#tally(running.band).ended += 1;
      if (running.counted) this.#count(running, sequence, nowMs);
    }
  }

  #count(running: Running, sequence: EngineSequence, nowMs: number): void {
    const tally = this.#tally(running.band);
    const tpotMs = (nowMs - running.firstMs) / (sequence.generatedTokens - 1);
    const ttftMs = running.firstMs - running.askedMs;
    const slo = SLO[running.band];
    tally.completed += 1;
    tally.tpot.push(tpotMs);
    if (slo === undefined || (ttftMs <= slo.ttftMs && tpotMs <= slo.tpotMs)) tally.good += 1;
  }

  #sample(): void {
    const nowMs = this.#clock.monoMs();
    if (nowMs < this.#nextSampleMs) return;
    this.#nextSampleMs = nowMs + SAMPLE_MS;
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
    let tokens = 0;
    for (const band of this.#qos.report()[0]?.bands ?? []) tokens += band.tokens;
    this.#mostTokens = Math.max(this.#mostTokens, tokens);
  }

  #result(): RunResult {
    const { seconds } = this.#options;
    const errors = this.#waits.map(
      ({ predicted, actual }) => Math.abs(predicted - actual) / actual,
    );
    let ended = 0;
    const bands: Partial<Record<Band, BandResult>> = {};
    for (const [band, tally] of this.#tallies) {
      ended += tally.ended;
      bands[band] = {
        asked: tally.asked,
        completed: tally.completed,
        perSecond: tally.ended / seconds,
        refused: tally.refused,
        ttftP50Ms: quantile(tally.ttft, 0.5) ?? 0,
        ttftP99Ms: quantile(tally.ttft, 0.99) ?? 0,
        tpotP50Ms: quantile(tally.tpot, 0.5) ?? 0,
        // What is still running at the end is neither good nor bad.
        withinSlo: tally.good / Math.max(1, tally.completed + tally.refused),
      };
    }
    return {
      bands,
      requestsPerSecond: ended / seconds,
      idleWhileWaiting: this.#idleMs / (seconds * 1_000),
      waitErrorP50: quantile(errors, 0.5),
      waitErrorP90: quantile(errors, 0.9),
      waited: errors.length,
      mostWaiting: this.#mostWaiting,
      mostQueuedTokens: this.#mostTokens,
      preempted: this.#preempted,
    };
  }
}

function quantile(values: readonly number[], share: number): number | null {
  if (values.length === 0) return null;
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? null;
}

/** Plays one run. */
export function play(options: RunOptions): Promise<RunResult> {
  return new Run(options).play();
}
