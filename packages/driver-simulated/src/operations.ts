/**
 * Changes of the simulated machine: each takes the state and gives the next one, or the machine's refusal. Pure; the
 * order of checks is the kernel's (text, sameness, rules, then holders). What a fault does to a change is decided here.
 */
import type { AimError, CardId, ComputeMode, DeviceHolder, MemoryMode } from '@aim-gpu/core';
import type { FaultEffect } from './faults.js';
import {
  type KernelVariant,
  loadedComputeMode,
  type MachineRefusal,
  refuseComputeMode,
  refuseMemoryMode,
} from './kernel.js';
import {
  type CardState,
  type ChangeWindow,
  createMachine,
  holdersOf,
  type MachineState,
  phaseOf,
  productOf,
} from './machine.js';
import { deviceBusy, machineRefused, unknownCard } from './refusals.js';

/** What a change came to: the next state, and the window to wait for where it takes time. */
export type Outcome =
  | { readonly ok: true; readonly state: MachineState; readonly window: ChangeWindow | null }
  | { readonly ok: false; readonly error: AimError };

/** What every change is given. */
export interface ChangeContext {
  readonly state: MachineState;
  readonly nowMs: number;
  readonly kernel: KernelVariant;
  readonly fault: FaultEffect | null;
  /** Draws how long it takes; `takesMs` replaces the drawn duration. */
  readonly draw: (takesMs?: number) => ChangeWindow;
}

const NOT_LOADED: MachineRefusal = { errno: 'ENODEV', text: 'the GPU driver is not loaded' };

/** Asks for another compute mode of one card. */
export function switchCompute(context: ChangeContext, id: CardId, to: ComputeMode): Outcome {
  const { state, kernel, fault } = context;
  const card = state.cards.find((entry) => entry.id === id);
  if (card === undefined) return { ok: false, error: unknownCard(id, idsOf(state)) };
  const what = `switching card ${id} to ${to}`;
  const injected = refusedByFault(what, fault);
  if (injected !== null) return injected;
  if (state.unloaded === true) return refuse(what, NOT_LOADED);
  if (isChanging(context, card)) {
    return refuse(what, { errno: 'EBUSY', text: 'device is in reset' });
  }
  if (to === card.compute) return { ok: true, state, window: null };
  const refusal = refuseComputeMode(productOf(card), kernel, to, card.memory);
  if (refusal !== null) return refuse(what, refusal);
  const holders = toHolders(state, kernel.busyScope === 'card' ? id : null);
  if (holders.length > 0) {
    const text = 'write error: Device or resource busy';
    return { ok: false, error: deviceBusy({ what: `card ${id}`, text, holders }) };
  }
  const window = context.draw(fault?.kind === 'hang' ? fault.ms : undefined);
  const reached = changesNothing(fault) ? card.compute : to;
  const says = fault?.kind === 'wrong-report' ? { compute: fault.compute } : undefined;
  const switching = { ...window, to: reached, ...(says === undefined ? {} : { says }) };
  const cards = replaceCard(state, { ...card, switching });
  return {
    ok: true,
    state: { ...afterReload(state), revision: state.revision + 1, cards },
    window,
  };
}

/**
 * Asks for a memory mode of a card's hive; kept until the next reload. Asking for the current mode is skipped by the
 * kernel and does not take back what was asked for before.
 */
export function stageMemory(context: ChangeContext, id: CardId, to: MemoryMode): Outcome {
  const { state, kernel, fault } = context;
  const card = state.cards.find((entry) => entry.id === id);
  if (card === undefined) return { ok: false, error: unknownCard(id, idsOf(state)) };
  const what = `asking for ${to} of hive ${card.hive}`;
  const injected = refusedByFault(what, fault);
  if (injected !== null) return injected;
  if (state.unloaded === true) return refuse(what, NOT_LOADED);
  if (isChanging(context, card)) {
    return refuse(what, { errno: 'EBUSY', text: 'device is in reset' });
  }
  const refusal = refuseMemoryMode(productOf(card), kernel, to);
  if (refusal !== null) return refuse(what, refusal);
  if (to === card.memory || changesNothing(fault)) return { ok: true, state, window: null };
  const cards = state.cards.map((entry) =>
    entry.hive === card.hive ? { ...entry, staged: to } : entry,
  );
  return {
    ok: true,
    state: { ...afterReload(state), revision: state.revision + 1, cards },
    window: null,
  };
}

/** Unloads and loads the driver of the node: staged memory modes are applied, every compute mode starts anew. */
export function reloadDriver(context: ChangeContext): Outcome {
  const { state, kernel, fault } = context;
  const what = 'reloading the GPU driver';
  const injected = refusedByFault(what, fault);
  if (injected !== null) return injected;
  const refusal = state.unloaded === true ? null : refuseUnload(context);
  if (refusal !== null) return refusal;
  const window = context.draw(fault?.kind === 'hang' ? fault.ms : undefined);
  const after = state.cards.map((card) => {
    const memory = reachedMemory(state, card, fault);
    return { id: card.id, memory, compute: loadedComputeMode(productOf(card), kernel, memory) };
  });
  const reloading = { ...window, after };
  const next = { ...state, revision: state.revision + 1, reloading, unloaded: false };
  return { ok: true, state: next, window };
}

/** Loads a driver that is unloaded; one that is loaded stays as it is, as with modprobe. */
export function loadDriver(context: ChangeContext): Outcome {
  const { state } = context;
  return state.unloaded === true ? reloadDriver(context) : { ok: true, state, window: null };
}

/** Unloads the driver: no card can be seen until it is loaded. */
export function unloadDriver(context: ChangeContext): Outcome {
  const { state, fault } = context;
  const injected = refusedByFault('unloading the GPU driver', fault);
  if (injected !== null) return injected;
  if (state.unloaded === true) {
    return refuse('unloading the GPU driver', {
      errno: 'ENODEV',
      text: 'modprobe: FATAL: Module amdgpu is not currently loaded.',
    });
  }
  const refusal = refuseUnload(context);
  if (refusal !== null) return refusal;
  const next = { ...state, revision: state.revision + 1, unloaded: true };
  return { ok: true, state: next, window: null };
}

/** A module that is used is not unloaded: by processes, or by a change of its own. */
function refuseUnload(context: ChangeContext): Outcome | null {
  const { state } = context;
  const text = 'modprobe: FATAL: Module amdgpu is in use.';
  if (state.cards.some((card) => isChanging(context, card))) {
    return refuse('reloading the GPU driver', { errno: 'EBUSY', text });
  }
  const holders = toHolders(state, null);
  if (holders.length === 0) return null;
  return { ok: false, error: deviceBusy({ what: 'the GPU driver', text, holders }) };
}

/** Sets something of a card that is no layout: takes no time and is lost with the next switch. */
export function tuned(
  state: MachineState,
  id: CardId,
  values: Pick<CardState, 'allocatesAll'> | Pick<CardState, 'isolated'>,
  fault: FaultEffect | null,
  what: string,
): Outcome {
  const injected = refusedByFault(`setting ${what} of card ${id}`, fault);
  if (injected !== null) return injected;
  if (changesNothing(fault)) return { ok: true, state, window: null };
  const cards = state.cards.map((card) => (card.id === id ? { ...card, ...values } : card));
  return { ok: true, state: { ...afterReload(state), cards }, window: null };
}

/** Cuts the power: what was staged, switched or running is lost, every card starts in its initial layout. */
export function reboot(state: MachineState): MachineState {
  return { ...createMachine(state.cards, state.revision + 1), nextKey: state.nextKey };
}

/** Processes in the driver port's form. */
export function toHolders(state: MachineState, card: CardId | null): readonly DeviceHolder[] {
  return holdersOf(state, card).map((entry) => ({
    pid: entry.pid,
    command: entry.command,
    user: null,
    device: `${entry.card}/${entry.partition}`,
  }));
}

function reachedMemory(
  state: MachineState,
  card: CardState,
  fault: FaultEffect | null,
): MemoryMode {
  if (card.staged === null || changesNothing(fault)) return card.memory;
  if (fault?.kind !== 'half') return card.staged;
  const hive = state.cards.filter((entry) => entry.hive === card.hive);
  return hive.indexOf(card) < Math.ceil(hive.length / 2) ? card.staged : card.memory;
}

function changesNothing(fault: FaultEffect | null): boolean {
  return fault?.kind === 'no-change' || (fault?.kind === 'hang' && !fault.applies);
}

/** A change that comes while devices of a reload are still appearing ends the appearing: the reload itself is over. */
function afterReload(state: MachineState): MachineState {
  return { ...state, reloading: null };
}

/** The kernel takes the next change once the last one has returned, also while its devices are still appearing. */
function isChanging(context: ChangeContext, card: CardState): boolean {
  const window = card.switching ?? context.state.reloading;
  return window !== null && phaseOf(window, context.nowMs) === 'changing';
}

function refusedByFault(what: string, fault: FaultEffect | null): Outcome | null {
  switch (fault?.kind) {
    case 'busy':
      return refuse(what, { errno: 'EBUSY', text: 'write error: Device or resource busy' });
    case 'io':
      return refuse(what, { errno: 'EIO', text: 'write error: Input/output error' });
    case 'permission':
      return refuse(what, { errno: 'EPERM', text: 'write error: Operation not permitted' });
    default:
      return null;
  }
}

function refuse(what: string, refusal: MachineRefusal): Outcome {
  return { ok: false, error: machineRefused(what, refusal) };
}

function replaceCard(state: MachineState, card: CardState): readonly CardState[] {
  return state.cards.map((entry) => (entry.id === card.id ? card : entry));
}

function idsOf(state: MachineState): readonly CardId[] {
  return state.cards.map((card) => card.id);
}
