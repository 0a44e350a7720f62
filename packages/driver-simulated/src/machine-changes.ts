/**
 * How the simulated machine is read and changed, whoever asks: the driver's calls, writes to a materialized tree, its
 * tools. Owns rights, faults, compare-and-set and the waiting for a change to end; the rules are in operations.ts.
 */
import type { CallOptions, CardId, Clock, Inventory, NodeName, Rng } from '@aim-gpu/core';
import type { FaultableCall, FaultEffect, FaultScript } from './faults.js';
import type { KernelVariant } from './kernel.js';
import { type ChangeWindow, isAtRest, type MachineState } from './machine.js';
import type { MachineChange, MachineStore } from './machine-store.js';
import { observe } from './observation.js';
import { type ChangeContext, type Outcome, reboot } from './operations.js';
import { machineRefused, powerCut, staleGeneration } from './refusals.js';
import { drawWindow, type SimulatedTiming } from './timing.js';

/** What is asked of the machine. */
export interface ChangeRequest {
  readonly call: FaultableCall;
  readonly kind: 'compute' | 'reload';
  readonly card: CardId | null;
  /** Generation the machine must be at; null takes it as it is, as the kernel does. */
  readonly expect: string | null;
  readonly work: (context: ChangeContext) => Outcome;
  /** Faults this part of a change can have; all when left out. */
  readonly faults?: readonly FaultEffect['kind'][];
}

/** Reading and changing one machine. */
export interface MachineChanges {
  /** What can be read of the machine now. */
  discover(call?: CallOptions): Promise<Inventory>;
  /** The same without faults of reading, and the state behind it. */
  look(): Promise<{ readonly state: MachineState; readonly inventory: Inventory }>;
  /** Begins a change; resolves with the window it takes, null when there is nothing to wait for. Throws refusals. */
  begin(request: ChangeRequest, call?: CallOptions): Promise<ChangeWindow | null>;
  /** Waits until the set call of a window would return, or until all its partitions can be seen. */
  waitFor(window: ChangeWindow, until: 'end' | 'visible', call?: CallOptions): Promise<void>;
  /** Waits at most `limitMs` from the start of the window; false when that was too short. */
  waitAtMost(
    window: ChangeWindow,
    options: CallOptions & { readonly until: 'end' | 'visible'; readonly limitMs: number },
  ): Promise<boolean>;
}

/** Makes the changes of a machine. */
export function createMachineChanges(options: {
  readonly node: NodeName;
  readonly machine: MachineStore;
  readonly kernel: KernelVariant;
  readonly faults: FaultScript;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly timing: SimulatedTiming;
  readonly privileged: boolean;
}): MachineChanges {
  const { node, machine, kernel, faults, clock, rng, timing } = options;
  const cuts = new WeakMap<ChangeWindow, number>();

  let seen: Awaited<ReturnType<MachineChanges['look']>> | null = null;

  const look: MachineChanges['look'] = async () => {
    const state = await machine.read();
    // A machine at rest looks the same at any time.
    if (seen?.state !== state || !isAtRest(state)) {
      seen = { state, inventory: observe({ node, state, nowMs: clock.epochMs(), kernel }) };
    }
    return seen;
  };

  /** Waits by the wall clock, which the machine's changes are kept in; one that was set back ends the wait. */
  const waitUntil = async (untilMs: number, sinceMs: number, call: CallOptions): Promise<void> => {
    for (;;) {
      const nowMs = clock.epochMs();
      if (nowMs >= untilMs || nowMs < sinceMs) return;
      await clock.sleep(untilMs - nowMs, call);
    }
  };

  const waitAtMost: MachineChanges['waitAtMost'] = async (window, { until, limitMs, ...call }) => {
    const cutMs = cuts.get(window);
    if (cutMs !== undefined) {
      await waitUntil(window.startedAtMs + cutMs, window.startedAtMs, call);
      await machine.update((state) => ({ state: reboot(state), value: null }));
      throw powerCut();
    }
    const endMs = until === 'end' ? window.endsAtMs : window.visibleAtMs;
    const enough = endMs - window.startedAtMs <= limitMs;
    await waitUntil(Math.min(endMs, window.startedAtMs + limitMs), window.startedAtMs, call);
    return enough;
  };

  return {
    look,
    discover: async (call) => {
      call?.signal?.throwIfAborted();
      if (faults.take('discover', null)?.kind === 'io') {
        throw machineRefused('reading the machine', {
          errno: 'EIO',
          text: 'read error: Input/output error',
        });
      }
      return (await look()).inventory;
    },
    begin: async (request, call = {}) => {
      call.signal?.throwIfAborted();
      return machine.update<ChangeWindow | null>(
        (state, nowMs): MachineChange<ChangeWindow | null> => {
          if (!options.privileged) {
            const text = 'Command requires elevation';
            return { state, error: machineRefused('changing a layout', { errno: 'EPERM', text }) };
          }
          if (request.expect !== null) {
            const { generation } = observe({ node, state, nowMs, kernel });
            if (generation !== request.expect) {
              return { state, error: staleGeneration(request.expect, generation) };
            }
          }
          const fault = faults.take(request.call, request.card, request.faults);
          const draw = (takesMs?: number): ChangeWindow =>
            drawWindow({
              kind: request.kind,
              timing,
              rng,
              nowMs,
              ...(takesMs === undefined ? {} : { takesMs }),
            });
          const outcome = request.work({ state, nowMs, kernel, fault, draw });
          if (!outcome.ok) return { state, error: outcome.error };
          if (fault?.kind === 'power-cut' && outcome.window !== null) {
            cuts.set(outcome.window, fault.afterMs);
          }
          return { state: outcome.state, value: outcome.window };
        },
        call,
      );
    },
    waitFor: async (window, until, call = {}) => {
      await waitAtMost(window, { ...call, until, limitMs: Number.POSITIVE_INFINITY });
    },
    waitAtMost,
  };
}
