/**
 * Engines by name: which engine a workload gets on this node. `auto` is the simulated engine on simulated GPUs and
 * vLLM on real ones (CONTRACT §2).
 */
import {
  createLlamaCppEngine,
  createSglangEngine,
  createSimulatedEngine,
  createVllmEngine,
  type SimulatedPartition,
} from '@aim-gpu/backends';
import {
  AimError,
  type EnvelopeShare,
  type FleetNode,
  type Inventory,
  type ServingEngine,
  type Workload,
} from '@aim-gpu/core';

/** Options of {@link createEngineChoice}. */
export interface EngineChoiceOptions {
  readonly driver: FleetNode['driver'];
  /** Socket of the simulated device; null on real GPUs. */
  readonly deviceSocket: string | null;
}

/** Makes the choice of a node. It throws `ERR_ENGINE_UNSUPPORTED` (refused) for a real engine on simulated GPUs. */
export function createEngineChoice(
  options: EngineChoiceOptions,
): (workload: Workload, inventory: Inventory) => ServingEngine {
  return (workload, inventory) => {
    const { name } = workload.engine;
    const wanted = name === 'auto' ? (options.driver === 'simulated' ? 'simulated' : 'vllm') : name;
    if (wanted === 'simulated') {
      return createSimulatedEngine({
        partitionOf: (share) => simulatedPartition(inventory, share),
        sharedDeviceSocket: options.deviceSocket,
      });
    }
    if (options.driver === 'simulated') throw noRealEngine(workload, wanted);
    switch (wanted) {
      case 'vllm':
        return createVllmEngine();
      case 'sglang':
        return createSglangEngine();
      default:
        return createLlamaCppEngine();
    }
  };
}

function simulatedPartition(inventory: Inventory, share: EnvelopeShare): SimulatedPartition {
  const card = inventory.cards.find((entry) => entry.id === share.card);
  const partition = card?.partitions.find((entry) => entry.index === share.partition);
  const { compute, memory } = card?.layout ?? { compute: null, memory: null };
  if (card?.product == null || partition === undefined || compute === null || memory === null) {
    throw new AimError({
      code: 'ERR_DEVICE_UNKNOWN',
      kind: 'missing',
      message: `there is no partition ${share.partition} on card ${share.card}`,
    });
  }
  return { product: card.product, xcds: partition.xcds, layout: { compute, memory } };
}

function noRealEngine(workload: Workload, name: string): AimError {
  return new AimError({
    code: 'ERR_ENGINE_UNSUPPORTED',
    kind: 'refused',
    message: `model ${workload.name} asks for ${name}, which cannot run on simulated GPUs`,
    hint: 'set engine to auto or simulated, or use --driver rocm',
  });
}
